#!/usr/bin/env bash
# Build htslib with libdeflate under a prefix, for wheels on systems that have none (cibuildwheel's images):
#   bash scripts/install_htslib.sh /usr/local
set -eu
prefix=${1:?usage: bash scripts/install_htslib.sh PREFIX}
libdeflate=1.24
htslib=1.22.1
if command -v dnf >/dev/null; then dnf install -y cmake bzip2-devel xz-devel zlib-devel libcurl-devel openssl-devel; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
curl -fsSL "https://github.com/ebiggers/libdeflate/releases/download/v$libdeflate/libdeflate-$libdeflate.tar.gz" | tar xz
cmake -S "libdeflate-$libdeflate" -B deflate -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib
cmake --build deflate && cmake --install deflate
curl -fsSL "https://github.com/samtools/htslib/releases/download/$htslib/htslib-$htslib.tar.bz2" | tar xj
cd "htslib-$htslib"
./configure --prefix="$prefix" --with-libdeflate CPPFLAGS="-I$prefix/include" LDFLAGS="-L$prefix/lib -Wl,-rpath,$prefix/lib"
make -j "$(getconf _NPROCESSORS_ONLN)"
make install
