# SPDX-License-Identifier: Apache-2.0
# Sessions over HTTP as programs and people ask for them: containers, a virtual machine that is made when somebody
# asks, and one at a compute that does not answer: libvirt's mock keeps no secrets, so it can fence nothing. httpd
# runs; t/stage/apache started it.
use strict;
use warnings;
use Test::More;
use JSON::PP qw(decode_json);
use LWP::UserAgent;
use HTTP::Request;

my $site = 'http://127.0.0.1:8529';

sub ask
{
    my ($user, $method, $path, %headers) = @_;
    my $agent = LWP::UserAgent->new(timeout => 15, max_redirect => 0);
    my $request = HTTP::Request->new($method, "$site$path", [%headers]);
    $request->authorization_basic($user, "$user-password") if $user;
    return $agent->request($request);
}

sub json
{
    my ($answer) = @_;
    return eval { decode_json($answer->content) } // {};
}

# The first answer that is not "wait", and how many said it.
sub arrive
{
    my ($user, $app, $limit) = @_;
    my ($end, $waits) = (time + $limit, 0);
    my $answer;
    while (time < $end) {
        $answer = ask($user, GET => "/apps/$app/cgi-bin/env", Accept => 'text/plain');
        last if $answer->code != 503;
        $waits++;
        select(undef, undef, undef, 0.3);
    }
    return ($answer, $waits);
}

sub instance
{
    my ($user, $app) = @_;
    return json(ask($user, GET => "/apps/$app/.persona/state", Accept => 'application/json'))->{instance} // '';
}

is(ask('', GET => '/apps/')->code, 401, 'nobody gets in without signing in');
my $portal = ask('alice', GET => '/apps/', Accept => 'text/html');
is($portal->code, 200, 'the portal');
like($portal->content, qr{href="/apps/web/"}, 'with what alice may open');
like($portal->content, qr{href="/apps/box/"}, 'also what has a rule that lets her');
unlike(ask('bob', GET => '/apps/', Accept => 'text/html')->content, qr{/apps/box/},
       'and not what a rule keeps from bob');
is(ask('bob', GET => '/apps/box/', Accept => 'text/plain')->code, 401, 'nor does its address let him in');
is(ask('alice', GET => '/apps/nothing/', Accept => 'text/plain')->code, 404, 'there is no application of any name');

# ---- a container ----
my ($answer) = arrive('alice', 'web', 90);
is($answer->code, 200, 'a program with no cookies gets a session of its user');
like($answer->content, qr/^PERSONA_INSTANCE=/m, 'and the answer of an instance');
my $mine = instance('alice', 'web');
like($mine, qr/^[0-9a-f-]{36}$/, 'which has a name');
is(instance('alice', 'web'), $mine, 'the next request has the same');
($answer) = arrive('bob', 'web', 90);
is($answer->code, 200, 'another user gets one too');
isnt(instance('bob', 'web'), $mine, 'of their own');

# ---- a virtual machine that is not there yet ----
$answer = ask('alice', GET => '/apps/box/cgi-bin/env', Accept => 'text/plain');
is($answer->code, 503, 'where nothing is ready a program is told to come again');
like($answer->header('Retry-After') // '', qr/^\d+$/, 'in so many seconds');
is(json($answer)->{state}, 'waiting', 'and why, as JSON') or diag($answer->content);
SKIP: {
    skip 'no kernel for the virtual machine was fetched', 2 unless -f "$ENV{TMPDIR}/../../images/probe.vmlinuz";
    my ($box, $waits) = arrive('alice', 'box', 150);
    is($box->code, 200, "the machine comes, after $waits times of asking");
    like($box->content, qr/^PERSONA_INSTANCE=/m, 'and answers');
}

# ---- one whose compute does not answer ----
my $began = time;
$answer = ask('alice', GET => '/apps/mock/', Accept => 'text/plain');
is($answer->code, 503, 'where nothing can ever be ready the answer is the same');
cmp_ok(time - $began, '<=', 6, 'and comes within PersonaTimeout');

# ---- who may say what ----
is(ask('alice', GET => '/apps/web/.persona/end')->code, 405, 'a link does not end a session');
is(ask('alice', POST => '/apps/web/.persona/end', Origin => 'http://elsewhere.example')->code, 403,
   'nor does a page of another site');
is(ask('alice', GET => '/apps/web/.persona/stream', Upgrade => 'websocket', Connection => 'Upgrade',
       Origin => 'http://elsewhere.example', 'Sec-WebSocket-Key' => 'AAAAAAAAAAAAAAAAAAAAAA==',
       'Sec-WebSocket-Version' => 13)->code, 403, 'which opens no stream either');
is(instance('alice', 'web'), $mine, 'the session is as it was');
is(ask('alice', POST => '/apps/web/.persona/end', Accept => 'application/json')->code, 200, 'its user ends it');
isnt(instance('alice', 'web'), $mine, 'and it is over');
is(ask('alice', GET => '/persona-status')->code, 401, 'the status page is not for everybody');
my $status = json(ask('admin', GET => '/persona-status', Accept => 'application/json'));
is_deeply([sort map { $_->{id} } @{$status->{personas}}], [qw(box mock web)], 'it shows the pools to an administrator');
is(join(' ', sort map { $_->{name} } grep { $_->{up} } @{$status->{computes}}), 'lxc vm', 'and which computes answer');

done_testing();
