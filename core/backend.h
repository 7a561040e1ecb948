// The interface of a backend: one C table. cpu/ implements it inside the addon, cuda/ in a separate library that the
// addon opens at run time. Nothing above this table knows which backend it calls.
//
// The functions that access a device's memory (memory_write, memory_read, pack, program_run) are called from one
// executor thread per device, in order. All others may be called from any thread at any time, even while a program
// runs; device_close comes last. Only `cancel` flags are accessed by two threads.
// A call that fails returns a non-zero code and fills the SanaFailure; no exception crosses the table.

#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/generated/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { kSanaBackendVersion = 4 };
enum { kSanaMaxOperands = 8, kSanaMaxAttributes = 8, kSanaMaxRank = 4, kSanaMaxList = 4096 };

#define SANA_ENUMERATOR(name, ...) kSana##name,
typedef enum SanaDType { SANA_DTYPES(SANA_ENUMERATOR) kSanaDTypeCount } SanaDType;

// How the elements of a tensor lie in memory. `dense` is row-major; the others are weights that a backend has packed in
// the order that its kernels read.
typedef enum SanaLayout { SANA_LAYOUTS(SANA_ENUMERATOR) } SanaLayout;
#undef SANA_ENUMERATOR

// An operand: its place in memory, dtype and shape. A dense tensor may be a range of columns of a wider one: `pitch` is
// the distance in elements between successive rows (the size of the last dimension if the tensor is contiguous).
typedef struct SanaTensor {
  uint32_t buffer;  // index into the program's buffers; 0 is the arena
  uint32_t dtype;
  uint32_t layout;
  uint32_t rank;  // 0: the operand is absent
  int64_t shape[4];
  int64_t pitch;
  uint64_t offset;  // bytes into the buffer
} SanaTensor;

// One operator of a program. Operands and attributes are in the order of the operator's row in the table.
typedef struct SanaCall {
  uint32_t op;           // index into sana::kOperators
  uint32_t list_length;  // entries of `list`
  SanaTensor operands[8];
  double attributes[8];
  const int64_t* list;  // the operator's integer list attribute, if it has one
} SanaCall;

typedef struct SanaFailure {
  const char* code;  // a string literal, ERR_SANA_*
  char message[1024];
  // The calls of the program that failed: one call, or, if an asynchronous device reports a fault late, the range that
  // contains the faulty call. Both are -1 if the failure is not about a call.
  int32_t first_call, last_call;
} SanaFailure;

// Why a device has no kernels for a dtype. `code` is null if it has them.
typedef struct SanaRefusal {
  const char* code;  // the code with which `tensor_bytes` and `supports` fail, a string literal
  char reason[120];
} SanaRefusal;

typedef struct SanaDeviceInfo {
  char name[128];
  char path[64];  // which code path runs: "avx512-bf16", "sm_90", ...
  uint64_t total_bytes;
  uint64_t free_bytes;       // at the time of the call
  uint32_t units;            // threads or multiprocessors in use
  uint64_t workspace_bytes;  // memory that an open device uses in addition to its buffers
  char problem[256];         // why the device cannot be used; empty if it can
  uint32_t default_dtype;    // of activations and weights unless another is requested: f32, or bf16 where it is fast
  uint32_t host_memory;      // 1: the device uses the host's memory, 0: it has its own memory
  SanaRefusal refusals[kSanaDTypeCount];  // by dtype; the operator table has the dtypes of each operand
} SanaDeviceInfo;

// The peak rates of the device, measured: no operator can take less time than its flops or bytes divided by these.
typedef struct SanaCeilings {
  double f32_flops;         // per second
  double bf16_flops;        // per second, f32 accumulation
  double i8_flops;          // per second, i32 accumulation
  double bytes_per_second;  // of a large copy: bytes read plus bytes written
} SanaCeilings;

typedef struct SanaDeviceOptions {
  uint32_t threads;  // CPU only; 0: the backend chooses
  const char* path;  // the name of a code path to force; null or empty: the backend chooses
} SanaDeviceOptions;

typedef struct SanaDevice SanaDevice;
typedef struct SanaMemory SanaMemory;
typedef struct SanaProgram SanaProgram;

typedef struct SanaBackend {
  uint32_t version;
  const char* name;  // "cpu", "cuda"
  uint32_t toolkit;  // the CUDA version it was built with, 1000 * major + 10 * minor; 0: none

  int (*device_count)(uint32_t* count, SanaFailure*);
  // Describes a device as it would be if opened with these options.
  int (*device_info)(uint32_t index, const SanaDeviceOptions*, SanaDeviceInfo*, SanaFailure*);
  int (*device_open)(uint32_t index, const SanaDeviceOptions*, SanaDevice**, SanaFailure*);
  int (*device_describe)(SanaDevice*, SanaDeviceInfo*, SanaFailure*);
  int (*device_ceilings)(SanaDevice*, SanaCeilings*, SanaFailure*);
  void (*device_close)(SanaDevice*);

  int (*memory_allocate)(SanaDevice*, uint64_t bytes, SanaMemory**, SanaFailure*);  // zero-filled, 64-byte aligned
  void (*memory_free)(SanaDevice*, SanaMemory*);
  int (*memory_write)(SanaDevice*, SanaMemory*, uint64_t offset, const void* source, uint64_t bytes, SanaFailure*);
  int (*memory_read)(SanaDevice*, SanaMemory*, uint64_t offset, void* target, uint64_t bytes, SanaFailure*);

  // The bytes that a weight of this dtype, packed layout and logical shape takes on the device. check_shape
  // (core/tensor.h) must have passed. Thread-safe. Fails for dtypes that the device does not support.
  int (*tensor_bytes)(SanaDevice*, uint32_t dtype, uint32_t layout, uint32_t rank, const int64_t* shape,
                      uint64_t* bytes, SanaFailure*);
  // Converts `rows` rows of a checkpoint tensor (row-major, `source_dtype`, in host memory, in the checkpoint's order:
  // conv weights are [O, I, kh, kw]) to the target's dtype and layout, and stores them as rows first_row.. of `target`.
  // Adds the number of NaN and infinite elements to `non_finite`.
  int (*pack)(SanaDevice*, SanaMemory*, const SanaTensor* target, int64_t first_row, int64_t rows, const void* source,
              uint32_t source_dtype, uint64_t* non_finite, SanaFailure*);

  // Fails unless the device has a kernel for this call, which has been validated against the operator table and the
  // buffers. Thread-safe.
  int (*supports)(SanaDevice*, const SanaCall*, SanaFailure*);
  // The calls have been validated and are supported. The arena (buffer 0) is passed to each run.
  int (*program_create)(SanaDevice*, const SanaCall* calls, uint32_t call_count, SanaMemory* const* buffers,
                        uint32_t buffer_count, SanaProgram**, SanaFailure*);
  // `cancel` is polled between operators, or between groups of operators if they are queued ahead. A non-zero value
  // stops the run with ERR_SANA_CANCELLED; the program's outputs are then undefined. `milliseconds`, if not null,
  // receives the time of each call.
  int (*program_run)(SanaDevice*, SanaProgram*, SanaMemory* arena, const volatile int32_t* cancel, double* milliseconds,
                     SanaFailure*);
  void (*program_destroy)(SanaDevice*, SanaProgram*);
} SanaBackend;

#ifdef __cplusplus
}
#endif
