# SPDX-License-Identifier: Apache-2.0
check_SCRIPTS += \
	t/check_directives \
	t/check_keys \
	t/check_layers \
	t/check_style \
	t/check_tests
EXTRA_DIST += $(check_SCRIPTS) t/run t/stage t/lib .ci quickstart autogen.sh
