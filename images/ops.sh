#!/bin/sh
# Builds DeepSpeed's ops into the environment: ops.sh PYTHON "cpu_adam shm_comm" SOURCE.tar.gz
# Left alone, DeepSpeed compiles for the very processor it is built on, and an image built on a newer one dies
# of an illegal instruction on an older node. x86-64-v3 (AVX2, 2013) is what a cluster may be trusted to have.
set -eu
python=$1 ops=$2 source=$3
work=$(mktemp -d)
tar -xzf "$source" -C "$work" --strip-components=1
sed -i -e 's/-march=native/-march=x86-64-v3/' -e 's/avx512/no-avx512/' "$work/op_builder/builder.py"
for op in $ops; do
  export "DS_BUILD_$(echo "$op" | tr '[:lower:]' '[:upper:]')=1"
done
DS_ACCELERATOR=${DS_ACCELERATOR:-cpu} PATH="$(dirname "$python"):$PATH" \
  /tools/bin/pip --python "$python" install --no-index --no-deps --no-cache-dir --no-build-isolation \
  --force-reinstall "$work"
rm -rf "$work"
