# SPDX-License-Identifier: Apache-2.0
# Bad configuration first: `httpd -t` says what is wrong and what would be right; good configuration passes.
use strict;
use warnings;
use Test::More;
use File::Path qw(make_path remove_tree);
use FindBin;

my $modules = '/usr/lib/apache2/modules';
my $prefix = $ENV{PERSONA_PREFIX} or BAIL_OUT('PERSONA_PREFIX is not set');
my $dir = "$ENV{TMPDIR}/config";
my $me = getpwuid($>);
my ($good, $key) = ("$dir/personas", "$dir/key");

remove_tree($dir);
make_path("$dir/logs", "$dir/state", $good, "$dir/empty", "$dir/bad");
write_file($key, '0123456789abcdef' x 4 . "\n", 0400);
write_file("$good/desk.json", persona('desk'));

sub write_file
{
    my ($path, $text, $mode) = @_;
    unlink $path;
    open(my $fh, '>', $path) or die "$path: $!";
    print $fh $text;
    close $fh;
    chmod($mode, $path) if defined $mode;
}

sub persona
{
    my ($id, %change) = @_;
    my %member = (
        persona_id => "\"$id\"", app_id => "\"$id\"", application_source => '"desk"',
        resource_profile => '{"cpu": 1, "memory": "256MiB"}',
        execution_environment => '{"compute": "fake", "network": {"name": "default"},
            "stream": {"protocol": "vnc", "port": 5900}}',
        predicted_usage_pattern => '{"timezone": "UTC", "hourly": [' . join(',', ('"low"') x 24) . '], "daily": {}}',
        user_role_affinity => '[]', auto_scale_rules => '[]', pool => '{"min": 0, "max": 1}', %change);
    my @defined = grep { defined $member{$_} } sort keys %member;
    return "{\n" . join(",\n", map { "  \"$_\": $member{$_}" } @defined) . "\n}\n";
}

# A whole configuration in which single directives are replaced, or dropped (undef).
sub config
{
    my (%change) = @_;
    my %global = (PersonaDirectory => $good, PersonaSecretFile => $key, PersonaStateDirectory => "$dir/state",
                  PersonaCompute => 'fake libvirt test:///default', PersonaManagerUser => $me,
                  PersonaMemcached => '127.0.0.1:11212', %change);
    my $more = delete $global{more} // '';
    my $location = delete $global{location} // 'PersonaGateway On';
    my $text = "ServerRoot $dir\nDefaultRuntimeDir $dir/logs\nPidFile logs/pid\nErrorLog logs/error.log\n" .
        "ServerName localhost\nListen 127.0.0.1:8999\n";
    $text .= "LoadModule ${_}_module $modules/mod_$_.so\n"
        for qw(mpm_event authn_core authz_core alias proxy proxy_http);
    $text .= "LoadModule persona_module $prefix/lib/apache2/modules/mod_persona.so\n";
    $text .= join('', map { "$_ $global{$_}\n" } grep { defined $global{$_} } sort keys %global);
    return "$text$more\n<Location \"/apps/\">\n$location\n</Location>\n";
}

sub configtest
{
    my ($text) = @_;
    write_file("$dir/httpd.conf", $text);
    unlink "$dir/logs/error.log";
    my $said = `timeout 20 /usr/sbin/apache2 -t -f $dir/httpd.conf 2>&1 </dev/null`;
    my $status = $?;
    if (open(my $fh, '<', "$dir/logs/error.log")) {
        local $/;
        $said .= <$fh>;
    }
    return ($status, $said);
}

sub refuses
{
    my ($name, $text, @patterns) = @_;
    my ($status, $said) = configtest($text);
    my @missing = grep { $said !~ $_ } @patterns;
    ok($status != 0 && !($status & 127) && !@missing, $name)
        or diag("status $status, without @missing: $said");
}

sub refuses_persona
{
    my ($name, $json, @patterns) = @_;
    unlink glob("$dir/bad/*");
    write_file("$dir/bad/bad.json", $json);
    refuses($name, config(PersonaDirectory => "$dir/bad"), qr/bad\.json/, @patterns);
}

# ---- directives ----

refuses('a gateway without personas', config(PersonaDirectory => undef), qr/PersonaDirectory is not set/);
refuses('a folder that is not there', config(PersonaDirectory => "$dir/nowhere"), qr/nowhere/);
refuses('no compute', config(PersonaCompute => undef), qr/PersonaCompute/, qr/qemu:\/\/\/system/);
refuses('an unknown provider', config(PersonaCompute => 'fake vmware x'), qr/vmware/, qr/libvirt/);
refuses('a compute line without an address', config(PersonaCompute => 'fake libvirt'), qr/PersonaCompute/);
refuses('an option that is not name=value', config(PersonaCompute => 'fake libvirt test:///default images'),
        qr/"images"/, qr/name=value/);
refuses('an unknown option', config(PersonaCompute => 'fake libvirt test:///default imags=/x'), qr/imags/);
refuses('boots that are no number', config(PersonaCompute => 'fake libvirt test:///default boots=many'), qr/boots=many/,
        qr/1 to 64/);
refuses('a compute named twice', config(more => 'PersonaCompute fake libvirt qemu:///system'), qr/used twice/);
refuses('a bad name of a compute', config(PersonaCompute => 'FAKE libvirt test:///default'), qr/"FAKE"/);
refuses('no key', config(PersonaSecretFile => undef), qr/PersonaSecretFile is not set/, qr/openssl rand/);
refuses('a key file that is not there', config(PersonaSecretFile => "$dir/nokey"), qr/nokey/, qr/openssl rand/);
write_file("$dir/openkey", 'ab' x 32, 0644);
refuses('a key that others can read', config(PersonaSecretFile => "$dir/openkey"), qr/0644/, qr/chmod/);
write_file("$dir/shortkey", "abcd\n", 0400);
refuses('a key that is too short', config(PersonaSecretFile => "$dir/shortkey"), qr/64/);
write_file("$dir/emptykey", "\n", 0400);
write_file("$dir/twokeys", 'ab' x 32 . "\n" . 'cd' x 32 . "\n", 0400);
refuses('two keys and no name of the site', config(PersonaSecretFile => "$dir/twokeys"), qr/"site [0-9a-f]{12}", if/);
write_file("$dir/badsite", 'ab' x 32 . "\nsite My_site\n", 0400);
refuses('a bad name of the site', config(PersonaSecretFile => "$dir/badsite"), qr/"site NAME"/);
refuses('an empty key file', config(PersonaSecretFile => "$dir/emptykey"), qr/empty/);
refuses('another user without being root', config(PersonaManagerUser => 'daemon'), qr/daemon/, qr/root/);
refuses('memcached without a port', config(PersonaMemcached => '127.0.0.1:'), qr/PersonaMemcached/);
refuses('memcached with a port out of range', config(PersonaMemcached => '127.0.0.1:70000'), qr/PersonaMemcached/);
refuses('an unknown database', config(PersonaDatabase => 'mysql x'), qr/mysql/, qr/sqlite3, pgsql/);
refuses('a database in a folder that is not there', config(PersonaDatabase => "sqlite3 $dir/nowhere/persona.db"),
        qr/PersonaDatabase/, qr/nowhere/, qr/install -d/);
refuses('a folder as a database', config(PersonaDatabase => "sqlite3 $dir"), qr/PersonaDatabase/, qr/is not a file/);
refuses('a password in the configuration', config(PersonaDatabase => 'pgsql "dbname=x password=y"'), qr/passfile=/);
write_file("$dir/passfile", "*:*:*:*:y\n", 0644);
refuses('a password that others can read', config(PersonaDatabase => "pgsql \"dbname=x passfile=$dir/passfile\""),
        qr/0644/, qr/chmod 0600/);
refuses('a history that is too short', config(PersonaHistory => '5m'), qr/PersonaHistory.*out of range/);
refuses('pseudonyms that are neither on nor off', config(PersonaPseudonyms => 'maybe'), qr/PersonaPseudonyms/);
refuses('a duration without a unit it knows', config(PersonaSchedule => '5 weeks'), qr/PersonaSchedule/);
refuses('a tick that is too short', config(PersonaSchedule => '1ms'), qr/PersonaSchedule.*out of range/);
refuses('a timeout of none', config(PersonaTimeout => '0'), qr/PersonaTimeout/);
refuses('an unknown way to forecast', config(PersonaForecast => 'maybe'), qr/on, shadow, off/);
write_file("$dir/events.json", '{"timezone": "UTC", "events": [{"date": "2026-12-24", "like": "sunday"},' . "\n" .
    '{"weekday": "tue", "time": "13:00", "people": 3, "personas": ["desk"]}]}');
refuses('an event that is wrong', config(PersonaEventFile => "$dir/events.json"),
        qr/PersonaEventFile .*events\.json:1:63: \$\.events\[0\]\.like: /, qr/did you mean "sun"/);
write_file("$dir/events.json", '{"timezone": "UTC", "events": [' .
    '{"weekday": "tue", "time": "13:00", "people": 3, "personas": ["dask"]}]}');
refuses('an event of no persona', config(PersonaEventFile => "$dir/events.json"),
        qr/\$\.events\[0\]\.personas\[0\]: there is no persona "dask"/);
refuses('a file of events that is not there', config(PersonaEventFile => "$dir/nothing.json"),
        qr/PersonaEventFile .*nothing\.json: cannot be read/);
refuses('a hit rate of one', config(PersonaHitRate => '1'), qr/PersonaHitRate/, qr/0\.99/);
refuses('a wait cost that is not a number', config(PersonaWaitCost => '20m'), qr/PersonaWaitCost/);
refuses('a manager that is not there', config(PersonaManager => "$dir/personad"), qr/PersonaManager/);
refuses('a gateway outside a location', config(more => "<Directory /tmp>\nPersonaGateway On\n</Directory>"),
        qr/<Location/);
refuses('a gateway on a pattern', config(more => "<Location \"/a*/\">\nPersonaGateway On\n</Location>"),
        qr/plain path/);
refuses('roles that are no expression', config(location => "PersonaGateway On\nPersonaRoles %{env:"),
        qr/PersonaRoles/);
refuses('a bad number of sessions', config(location => "PersonaGateway On\nPersonaMaxSessions many"),
        qr/PersonaMaxSessions/);
refuses('a directive in a virtual host', config(more => "<VirtualHost *:8999>\nPersonaSchedule 5s\n</VirtualHost>"),
        qr/PersonaSchedule/);

# ---- persona files ----

refuses_persona('a file that is not JSON', "{\n  \"persona_id\": \"x\",,\n}\n", qr/bad\.json:2:\d+/);
refuses_persona('an empty file', '', qr/bad\.json/);
refuses_persona('an unknown key, with what it may have meant', persona('bad', poool => '{}'), qr/poool/, qr/"pool"/);
refuses_persona('a missing required field', persona('bad', resource_profile => undef), qr/resource_profile/);
refuses_persona('a wrong type', persona('bad', pool => '[]'), qr/\$\.pool/);
refuses_persona('a bad unit', persona('bad', resource_profile => '{"cpu": 1, "memory": "8 gigs"}'),
                qr/\$\.resource_profile\.memory/, qr/GiB/);
refuses_persona('a number out of range', persona('bad', pool => '{"min": 3, "max": 2}'), qr/pool/);
refuses_persona('every error of a file', persona('bad', pool => '{"min": -1, "max": "x"}', app_id => '7'),
                qr/pool\.min/, qr/pool\.max/, qr/app_id/);
refuses_persona('an unknown compute', persona('bad', execution_environment =>
                '{"compute": "moon", "network": {"name": "n"}, "stream": {"protocol": "vnc", "port": 5900}}'),
                qr/moon/);
refuses_persona('a NUL byte', "{\"persona_id\": \"a\\u0000b\"}", qr/bad\.json/);
refuses_persona('invalid UTF-8', "{\"persona_id\": \"\xff\"}", qr/UTF-8/i);
refuses_persona('a depth bomb', '[' x 100000, qr/bad\.json/);
refuses_persona('a file of 50 MB', ' ' x (50 * 1024 * 1024), qr/bad\.json/);
refuses_persona('a key given twice', "{\"app_id\": \"a\", \"app_id\": \"b\"}", qr/app_id/);
unlink glob("$dir/bad/*");
write_file("$dir/bad/one.json", persona('same'));
write_file("$dir/bad/two.json", persona('same'));
refuses('two personas of one name', config(PersonaDirectory => "$dir/bad"), qr/one\.json|two\.json/, qr/same/);
unlink glob("$dir/bad/*");
symlink('/etc/passwd', "$dir/bad/out.json");
refuses('a link out of the folder', config(PersonaDirectory => "$dir/bad"), qr/out\.json/);
unlink glob("$dir/bad/*");
refuses('a folder without personas', config(PersonaDirectory => "$dir/empty"), qr/empty/);

# ---- what passes, with a warning ----

my %http = (execution_environment => '{"compute": "fake", "network": {"name": "default"},
    "stream": {"protocol": "http", "port": 6080}}');
make_path("$dir/http");
write_file("$dir/http/desk.json", persona('desk'));
write_file("$dir/http/pages.json", persona('pages', %http));
{
    my ($status, $said) = configtest(config(PersonaDirectory => "$dir/http"));
    my @warnings = grep { /own origin/ } split /\n/, $said;
    ok($status == 0 && @warnings == 1 && $warnings[0] =~ /:warn\].*pages\.json: persona "pages".*vnc/,
       'one warning of a persona that speaks HTTP, which names it and what to do') or diag($said);
}
write_file("$dir/http/broken.json", persona('broken', pool => '[]'));
{
    my ($status, $said) = configtest(config(PersonaDirectory => "$dir/http"));
    ok($status != 0 && $said =~ /:error\].*broken\.json/ && $said =~ /:warn\].*own origin/,
       'a warning beside an error, each with its level') or diag($said);
}

# ---- what is right ----

for my $case (['a whole configuration'], ['no memcached', PersonaMemcached => undef],
              ['two memcached servers', PersonaMemcached => '127.0.0.1:11212,127.0.0.1:11213'],
              ['a history', PersonaDatabase => "sqlite3 $dir/state/history.db", PersonaHistory => '30d',
               PersonaPseudonyms => 'On'],
              ['options', more => "PersonaCompute kvm libvirt qemu:///system images=/tmp"],
              ['roles', location => "PersonaGateway On\nPersonaRoles %{env:ROLES}\nPersonaMaxSessions 0"]) {
    my ($name, %change) = @$case;
    my ($status, $said) = configtest(config(%change));
    ok($status == 0 && $said !~ /own origin/, "passes: $name") or diag($said);
}
# The worked example, where only what is of another machine is replaced.
{
    my $conf = "$FindBin::Bin/../conf";
    my %other = (
        '/etc/apache2/personas' => "$dir/example", '/etc/apache2/persona.key' => $key,
        '/usr/share/mod_persona/conf' => $conf, '/var/lib/persona/homes' => "$dir/homes",
        '${APACHE_LOG_DIR}' => "$dir/logs", '*:443' => '127.0.0.1:8999', '192.168.130.1:6082' => '127.0.0.1:8998',
        '/etc/ssl/certs/desk.example.org.pem' => "$dir/pem", '/etc/ssl/private/desk.example.org.key' => "$dir/pem",
        'qemu:///system' => 'test:///default', 'lxc:///system' => 'test:///default');
    open(my $fh, '<', "$conf/desk.conf.example") or die "$conf/desk.conf.example: $!";
    my $text = do { local $/; <$fh> };
    my $names = join('|', map { quotemeta } sort { length $b <=> length $a } keys %other);
    $text =~ s/($names)/$other{$1}/g;
    $text =~ s/^(PersonaManagerUser +)persona$/$1$me/m or die 'no PersonaManagerUser';
    $text =~ s{(/etc/apache2/desk\.)}{$dir/desk.}g;
    make_path("$dir/example", "$dir/homes");
    write_file("$dir/$_", "# nothing\n") for qw(pem desk.passwords desk.groups desk.roles);
    write_file("$dir/example/$_.json", persona($_, execution_environment => qq({"compute": "$_",
        "network": {"name": "default"}, "stream": {"protocol": "vnc", "port": 5900}}))) for qw(kvm lxc);
    my ($status, $said) = configtest(
        "ServerRoot $dir\nDefaultRuntimeDir $dir/logs\nPidFile logs/pid\nErrorLog logs/error.log\n" .
        "ServerName localhost\nListen 127.0.0.1:8999\n" .
        join('', map { "LoadModule ${_}_module $modules/mod_$_.so\n" }
             qw(mpm_event authn_core authz_core ssl rewrite auth_basic authn_file authz_user authz_groupfile dav dav_fs
                alias proxy proxy_http)) .
        "LoadModule persona_module $prefix/lib/apache2/modules/mod_persona.so\n$text");
    ok($status == 0 && $said !~ /persona:/, 'passes: conf/desk.conf.example, without a warning') or diag($said);
}
my ($status, $said) = configtest(config(PersonaDirectory => undef, PersonaCompute => undef, PersonaSecretFile => undef,
                                         PersonaManagerUser => undef, location => ''));
ok($status == 0, 'passes: the module loaded, and nothing of it used') or diag($said);
done_testing();
