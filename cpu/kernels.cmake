# sana_cpu_backend(target): compiles the CPU backend into `target`. cpu/kernels/ is compiled once per instruction set, each
# time into a separate namespace (sana::cpu::<SANA_ISA>); cpu/backend.cc picks one when a device is opened.
#
# -ffp-contract=off: only explicit fused multiply-adds are fused, so the results of every path are predictable.

set(SANA_CPU_ROOT ${CMAKE_CURRENT_LIST_DIR}/..)
set(SANA_KERNEL_FLAGS -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-exceptions -fno-rtti)

function(sana_cpu_kernels target isa)
  file(GLOB kernels CONFIGURE_DEPENDS ${SANA_CPU_ROOT}/cpu/kernels/*.cc)
  add_library(kernels_${isa} OBJECT ${kernels})
  target_include_directories(kernels_${isa} PRIVATE ${SANA_CPU_ROOT})
  target_compile_definitions(kernels_${isa} PRIVATE SANA_ISA=${isa} SANA_ISA_${isa}=1)
  target_compile_options(kernels_${isa} PRIVATE ${SANA_KERNEL_FLAGS} ${ARGN})
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:kernels_${isa}>)
endfunction()

function(sana_cpu_backend target)
  file(GLOB sources CONFIGURE_DEPENDS ${SANA_CPU_ROOT}/cpu/*.cc)
  target_sources(${target} PRIVATE ${sources})
  target_include_directories(${target} PRIVATE ${SANA_CPU_ROOT})
  sana_cpu_kernels(${target} portable)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mfma -mf16c -mbmi2 -mprefer-vector-width=512)
    target_compile_definitions(${target} PRIVATE SANA_X86=1)
    sana_cpu_kernels(${target} avx2 -mavx2 -mfma -mf16c -mbmi2)
    if(SANA_EMULATE_AVX512)
      target_compile_definitions(${target} PRIVATE SANA_EMULATE_AVX512=1)
      sana_cpu_kernels(${target} avx512 -I${SANA_CPU_ROOT}/test/avx512 -mavx2)
      sana_cpu_kernels(${target} avx512bf16 -I${SANA_CPU_ROOT}/test/avx512 -mavx2)
    else()
      sana_cpu_kernels(${target} avx512 ${avx512})
      sana_cpu_kernels(${target} avx512bf16 ${avx512} -mavx512bf16 -mavx512vnni)
    endif()
  endif()
endfunction()
