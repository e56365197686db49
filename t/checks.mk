# SPDX-License-Identifier: Apache-2.0
check_SCRIPTS += \
	t/check_backtest \
	t/check_directives \
	t/check_dist \
	t/check_faults \
	t/check_keys \
	t/check_layers \
	t/check_style \
	t/check_tests
EXTRA_DIST += $(check_SCRIPTS) t/run t/stage t/lib .ci quickstart autogen.sh
# File by file where a run leaves something beside them: a folder is copied with all that is in it.
EXTRA_DIST += \
	t/10_config.t \
	t/20_match.t \
	t/30_session.t \
	t/TEST \
	t/browser/package-lock.json \
	t/browser/package.json \
	t/browser/person.js \
	t/browser/prepare \
	t/browser/test.js \
	t/bench/claim \
	t/bench/claim.py \
	t/bench/click \
	t/bench/click.js \
	t/bench/docker \
	t/bench/forecast \
	t/bench/rate \
	t/bench/recorded_engine.py \
	t/bench/relay \
	t/bench/run \
	t/conf/httpd.conf.in \
	t/conf/modules.conf \
	t/fault/coverage \
	t/fault/fault_site.py \
	t/fault/httpd.conf \
	t/fault/image \
	t/fault/marker.c \
	t/fault/people.py \
	t/fault/prepare \
	t/fault/test_fault.py \
	t/history/test_history.py \
	t/manager/manager_site.py \
	t/manager/test_manager.py \
	t/model/fence.pml \
	t/model/lease.pml \
	t/model/line.pml \
	t/model/run \
	t/personas \
	t/race/lxc.py \
	t/race/storm.py \
	t/relay/test_host.py \
	t/relay/test_relay.py \
	t/root/image \
	t/root/intruder \
	t/root/screen.c \
	t/root/test_root.py \
	t/wait/test_wait.py
