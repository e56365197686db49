# SPDX-License-Identifier: Apache-2.0
check_PROGRAMS += t/unit/test_cookie t/unit/test_html t/unit/test_pass t/unit/test_rfb t/unit/test_websocket
t_unit_test_cookie_SOURCES = t/unit/test_cookie.c
t_unit_test_cookie_LDADD = libpersona_gateway.la $(UNIT_LIBS)
t_unit_test_html_SOURCES = t/unit/test_html.c
t_unit_test_html_LDADD = libpersona_gateway.la $(UNIT_LIBS)
t_unit_test_pass_SOURCES = t/unit/test_pass.c
t_unit_test_pass_LDADD = libpersona_gateway.la libpersona_persona.la $(UNIT_LIBS)
t_unit_test_rfb_SOURCES = t/unit/test_rfb.c
t_unit_test_rfb_LDADD = libpersona_gateway.la $(UNIT_LIBS)
t_unit_test_websocket_SOURCES = t/unit/test_websocket.c
t_unit_test_websocket_LDADD = libpersona_gateway.la $(UNIT_LIBS)
