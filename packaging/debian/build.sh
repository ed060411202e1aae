#!/usr/bin/env bash
# Builds a Debian package of torsync, with its Python packages in a virtual environment of its own:
#
#     packaging/debian/build.sh [FOLDER]        # FOLDER/torsync_VERSION_ARCH.deb; default: dist
#
# Needs dpkg-deb and Debian's python3 with python3-venv, of the release that the package is for.
# DEB_COMPRESSION: xz (default), zstd or none. PIP_…: as pip has them.
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
packaging=$source/packaging
python=${PYTHON:-/usr/bin/python3}
mkdir -p "${1:-dist}"
target=$(cd "${1:-dist}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
home=/usr/lib/torsync # where the virtual environment will be

# pip's builds leave files beside the source: build from a copy.
mkdir "$work/source"
cp -R "$source"/{torsync,pyproject.toml,README.md,LICENSE} "$work/source/"

# 1. The virtual environment, without pip: a package is updated as a whole.
"$python" -m venv "$work/builder"
"$python" -m venv --without-pip "$root$home"
"$work/builder/bin/pip" --python "$root$home/bin/python3" install --quiet --no-compile \
    --disable-pip-version-check --no-input --no-warn-script-location "$work/source"
version=$("$root$home/bin/python3" -c 'import torsync; print(torsync.__version__)')
# Programs of its packages are not for anybody's path; its own is run by the Python that it has.
find "$root$home/bin" -type f ! -name torsync -delete
sed -i "1s|.*|#!$home/bin/python3 -I|" "$root$home/bin/torsync"
printf 'home = %s\ninclude-system-site-packages = false\nversion = %s\n' \
    "$(dirname "$(readlink -f "$python")")" "$("$python" -c 'import platform as p; print(p.python_version())')" \
    >"$root$home/pyvenv.cfg"
find "$root$home" -name '__pycache__' -prune -exec rm -rf {} +
# Compiled here, as the service cannot write there; never looked at again, as nobody edits it.
"$python" -m compileall -q -j 0 -s "$root" -p / --invalidation-mode unchecked-hash "$root$home/lib"

# 2. What belongs to other places.
install -d "$root/usr/bin"
ln -s "../lib/torsync/bin/torsync" "$root/usr/bin/torsync"
put() { # put MODE SOURCE TARGET
    install -D -m "$1" "$2" "$root$3"
}
put 644 "$packaging/systemd/system/torsync.service" /usr/lib/systemd/system/torsync.service
put 644 "$packaging/systemd/user/torsync.service" /usr/lib/systemd/user/torsync.service
put 644 "$packaging/systemd/sysusers.d/torsync.conf" /usr/lib/sysusers.d/torsync.conf
put 644 "$packaging/systemd/tmpfiles.d/torsync.conf" /usr/lib/tmpfiles.d/torsync.conf
put 644 "$packaging/completions/torsync.bash" /usr/share/bash-completion/completions/torsync
put 644 "$packaging/completions/_torsync" /usr/share/zsh/vendor-completions/_torsync
put 644 "$packaging/completions/torsync.fish" /usr/share/fish/vendor_completions.d/torsync.fish
put 644 "$packaging/man/torsync.1" /usr/share/man/man1/torsync.1
put 644 "$packaging/man/torsync.toml.5" /usr/share/man/man5/torsync.toml.5
put 644 "$source/README.md" /usr/share/doc/torsync/README.md
put 644 "$source/CHANGELOG.md" /usr/share/doc/torsync/changelog
put 644 "$source/LICENSE" /usr/share/doc/torsync/copyright
put 644 "$packaging/torsync.example.toml" /usr/share/doc/torsync/examples/torsync.example.toml
put 644 "$packaging/systemd/system/torsync.service.d/trees.conf.example" \
    /usr/share/doc/torsync/examples/trees.conf
put 640 "$here/config.toml" /etc/torsync/config.toml
put 600 "$here/environment" /etc/torsync/environment
gzip -9n "$root"/usr/share/man/man?/* "$root"/usr/share/doc/torsync/{README.md,changelog}

# 3. The package.
install -d "$root/DEBIAN"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$root/DEBIAN/$script"
done
printf '%s\n' /etc/torsync/config.toml /etc/torsync/environment >"$root/DEBIAN/conffiles"
minor=$("$python" -c 'import sys; print(sys.version_info[1])')
architecture=$(dpkg --print-architecture)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
    -e "s/@PYTHON@/3.$minor/" -e "s/@NEXT_PYTHON@/3.$((minor + 1))/" \
    -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" \
    "$here/control.in" >"$root/DEBIAN/control"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z |
    xargs -0 md5sum) >"$root/DEBIAN/md5sums"
package=$target/torsync_${version}_$architecture.deb
dpkg-deb --build --root-owner-group -Z"${DEB_COMPRESSION:-xz}" "$root" "$package"
