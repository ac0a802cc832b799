#!/bin/sh
# Install those of the named Debian packages that are missing, after asking: packages.sh [--yes] PACKAGE…
# Python itself may be one of them, so this is no Python. On other distributions it does nothing.
set -eu
yes=
if [ "${1-}" = --yes ]; then
  yes=1
  shift
fi
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || exit 0

missing=
for package in "$@"; do
  # A package that was removed may have left its configuration, and is known but not installed.
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || state=unknown
  [ "$state" = installed ] || missing="$missing $package"
done
[ "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Debian packages are missing; as root: apt-get install -y$missing" >&2
    exit 11
  fi
  root=sudo
fi
if [ ! "$yes" ]; then
  if [ ! -t 0 ]; then
    echo "Debian packages are missing: run apt-get install -y$missing, or add YES=1, which does" >&2
    exit 11
  fi
  printf 'Debian packages are missing:%s. Install them? [y/N] ' "$missing" >&2
  read -r answer
  case $answer in [yY]*) ;; *) exit 11 ;; esac
fi
echo "installing$missing" >&2
# A fresh machine has no lists; old ones name versions that are gone.
$root apt-get update -qq
# A machine that has just started may be upgrading itself.
# shellcheck disable=SC2086 # a list of words
$root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends $missing >/dev/null
