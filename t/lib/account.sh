# SPDX-License-Identifier: Apache-2.0
# Sourced inside t/lib/sandbox: from here on /etc is a private layer over the machine's, so that users can be made and
# go with the sandbox.
[ "${PERSONA_SANDBOX:-}" = inside ] || { echo "not in a sandbox" >&2; exit 1; }
layer=$PERSONA_SANDBOX_TMP/etc
mkdir -p "$layer/upper" "$layer/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$layer/upper,workdir=$layer/work" /etc || exit 1
