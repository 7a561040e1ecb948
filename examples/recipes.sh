#!/usr/bin/env bash
# What the command line can do, one recipe after another.
#
#   bash examples/recipes.sh
#
# Writes pictures and texts into the current folder. In a project that has the package installed, write `npx sana-native`.
set -euo pipefail

# In a checkout that is built, without the package on the path:
checkout="$(cd "$(dirname "$0")/.." && pwd)"
command -v sana-native > /dev/null || sana-native() { node "$checkout/dist/cli/main.js" "$@"; }

# A picture with a seed. Without --model, the built-in sana-tiny draws.
sana-native "a robot, flat style, on a yellow background" --seed 7 -o robot.png

# What was it made from? Then the same picture again, byte for byte, and one with fewer steps.
sana-native metadata robot.png
sana-native generate --from robot.png -o robot-again.png
cmp robot.png robot-again.png
sana-native generate --from robot.png --steps 5 -o robot-fast.png

# The prompt from standard input, the picture to standard output.
echo "a hamburger in flat style, green background" | sana-native generate - --seed 7 -o - > hamburger.png

# The result as JSON, for scripts.
sana-native generate "a dolphin" --seed 7 -o dolphin.png --json > dolphin.json

# Start from a picture.
sana-native generate "a robot on a red background" --image robot.png --strength 0.7 --seed 8 -o robot-red.png

# Operators, FLOPs and memory of a request, without running it.
sana-native explain "a robot" -W 512 -H 512 > explained.txt

# What can be used on this machine, and what the built-in model can draw.
sana-native info > info.txt
sana-native vocabulary > vocabulary.txt

# Exit codes tell failures apart: 2 is wrong usage.
code=0
sana-native generate "a robot" --steps 0 -o never.png 2> error.txt || code=$?
test "$code" = 2
