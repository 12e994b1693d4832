#!/bin/sh
# Fills a build context: context.sh PYTHON FOLDER LOCK OWN "DEBIAN PACKAGES" "DEEPSPEED OPS"
set -eu
python=$1 folder=$2 lock=$3 own=$4 packages=$5 ops=$6
images=$(cd "$(dirname "$0")" && pwd)
cp "$images/sbom.py" "$images/ops.sh" "$folder/"
cp "$lock" "$folder/lock"
for part in own debs sources; do rm -rf "${folder:?}/$part" && mkdir "$folder/$part"; done
cp "$own"/*.whl "$folder/own/"
if [ -n "$packages" ]; then
  # apt checks signatures; the packages must be of the base's release, which is the machine's
  # shellcheck disable=SC2086  # a list
  (cd "$folder/debs" && apt-get download -qq $packages)
fi
if [ -n "$ops" ]; then
  grep '^deepspeed==' "$lock" >"$folder/sources/requirements"
  "$python" -m pip download --quiet --require-hashes --no-deps --no-build-isolation --no-binary deepspeed \
    --dest "$folder/sources" --requirement "$folder/sources/requirements"
fi
