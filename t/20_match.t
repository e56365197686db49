# SPDX-License-Identifier: Apache-2.0
# Which persona a user gets for an application, as `personactl match` explains it.
use strict;
use warnings;
use Test::More;
use File::Path qw(make_path remove_tree);
use JSON::PP qw(decode_json);

my $personactl = "$ENV{PERSONA_PREFIX}/bin/personactl";
my $dir = "$ENV{TMPDIR}/match";
remove_tree($dir);
make_path($dir);

sub persona
{
    my ($file, $app, $affinity, $order) = @_;
    $order = defined $order ? "\"order\": $order," : '';
    my $low = join(',', ('"low"') x 24);
    open(my $fh, '>', "$dir/$file.json") or die "$dir: $!";
    print $fh <<"JSON";
{
  "persona_id": "$file", "app_id": "$app", $order "application_source": "desk",
  "resource_profile": { "cpu": 1, "memory": "256MiB" },
  "execution_environment": { "compute": "lxc", "network": { "name": "persona" },
    "stream": { "protocol": "vnc", "port": 5900 } },
  "predicted_usage_pattern": { "timezone": "UTC", "hourly": [$low], "daily": {} },
  "user_role_affinity": [$affinity], "auto_scale_rules": [], "pool": { "min": 0, "max": 1 }
}
JSON
    close $fh;
}

persona('cad-designer', 'freecad', '"graphic designer", { "role": "engineer", "weight": 0.5 }');
persona('cad-analyst', 'freecad', '"analyst", { "role": "engineer", "weight": 0.6 }');
persona('cad-anybody', 'freecad', '');
persona('office-first', 'office', '"clerk"', 1);
persona('office-second', 'office', '"clerk"', 2);
persona('lab', 'lab', '"scientist"');

sub match
{
    my ($app, $roles) = @_;
    open(my $pipe, '-|', $personactl, qw(match --json --user u --dir), $dir, '--app', $app, '--roles', $roles)
        or die "$personactl: $!";
    local $/;
    my $said = <$pipe>;
    close $pipe;
    return eval { decode_json($said) } // { said => $said };
}

sub gets
{
    my ($app, $roles, $expected, $name) = @_;
    my $match = match($app, $roles);
    is($match->{persona_id}, $expected, $name) or diag(explain($match));
    ok(length($match->{why} // '') > 10, "$name: and says why");
}

gets('freecad', 'graphic designer', 'cad-designer', 'a role with a blank');
gets('freecad', 'analyst', 'cad-analyst', 'another role, another persona of the same application');
gets('freecad', 'engineer', 'cad-analyst', 'the highest affinity wins');
gets('freecad', 'engineer, graphic designer', 'cad-designer', 'of several roles the best, with blanks around commas');
gets('freecad', 'graphic', 'cad-anybody', 'half a role is no role');
gets('freecad', '', 'cad-anybody', 'no role: the persona without roles');
gets('freecad', 'clerk', 'cad-anybody', 'a role that nothing suits: the persona without roles');
gets('freecad', 'Analyst', 'cad-anybody', 'roles are compared as they are written');
gets('office', 'clerk', 'office-first', "equals: the persona's own order");
is(match('lab', 'clerk')->{persona_id}, undef, 'no affinity, no persona without roles, no default: nobody');
is(match('nothing', 'clerk')->{persona_id}, undef, 'an unknown application');

persona('default', '*', '');
is(match('lab', 'clerk')->{persona_id}, 'default', 'the default profile is the last resort');
gets('lab', 'scientist', 'lab', 'and no more than that');

my $words = `$personactl match --dir $dir --user alice --app freecad --roles 'engineer'`;
like($words, qr/alice/, 'the explanation names the user');
like($words, qr/cad-designer/, 'and the candidates that lost');
like($words, qr/\.6\b/, 'with their scores');
isnt(system("$personactl match --dir $dir >/dev/null 2>&1"), 0, 'without an application it is called wrongly');
done_testing();
