# SPDX-License-Identifier: Apache-2.0
# Sourced by t/check_*: checks of the source tree, one line of TAP for each rule. Works in a checkout and in a
# distribution, from any directory.
set -u
LC_ALL=C
export LC_ALL
builddir=${top_builddir:-$(pwd)}
cd "${top_srcdir:-$(dirname "$0")/..}" || exit 1
checks=0
failures=0

# holds RULE OFFENDERS: the rule holds when OFFENDERS (text, one a line) is empty.
holds()
{
    checks=$((checks + 1))
    if [ -z "$2" ]; then
        echo "ok $checks - $1"
        return
    fi
    failures=$((failures + 1))
    echo "not ok $checks - $1"
    printf '%s\n' "$2" | sed 's/^/# /'
}

skips()
{
    checks=$((checks + 1))
    echo "ok $checks - $1 # SKIP $2"
}

finish()
{
    echo "1..$checks"
    [ "$failures" = 0 ]
    exit
}

# Source files of ours below the given directories that match the find expression after "--".
sources()
{
    find "$@" -name node_modules -prune -o -type f -print 2>/dev/null | grep -v '~$' | sort
}
