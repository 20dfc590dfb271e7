"""Debian's packages: fetched by a made-up `apt-get` into the cache of an ordinary user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plimsoll.lab.build import debian
from tests.unit.lab.fakes import Machine

APT = """#!/bin/sh
here=${0%/*}
echo "$@" >> $here/apt-calls
for word; do last=$word; done
[ -e $here/no-network ] && {
    echo "W: Temporary failure resolving"; echo "E: Failed to fetch" >&2; exit 100
}
[ -e $here/no-update ] && [ "$last" = update ] && { echo "E: one source of many is broken" >&2; exit 100; }
[ "$last" = update ] && exit
for word; do
    [ "$word" = --simulate ] && { /bin/cat $here/lacks; exit; }
    case $word in -*|*=*|download|install) continue;; esac
    [ -e $here/no-$word ] && { echo "E: Unable to locate package $word" >&2; exit 100; }
    echo archive > ${word}_1.0_amd64.deb
done
"""

DPKG = """#!/bin/sh
here=${0%/*}
[ $1 = -f ] && case $2 in
    */postgresql_*) echo "postgresql-$(/bin/cat $here/numbered)"; exit;;
    */prometheus_*) echo "libjs-jquery, $(/bin/cat $here/splits), libc6 (>= 2.34)"; exit;;
    *) echo "locales | locales-all, libc6 (>= 2.34), libicu72, libllvm14, libpq5 (>= 14)"; exit;;
esac
case $2 in
    */postgresql-*)
        there=$3/usr/lib/postgresql/17
        /bin/mkdir -p $there/bin $there/lib/bitcode/a $3/usr/lib/x86_64-linux-gnu
        for name in initdb postgres; do /bin/cp $here/postgres-program $there/bin/$name; done
        echo > $there/lib/llvmjit.so; echo > $there/lib/plpgsql.so; echo > $there/lib/bitcode/a/b.bc
        exit;;
    */lib*) /bin/mkdir -p $3/usr/lib/x86_64-linux-gnu; echo > $3/usr/lib/x86_64-linux-gnu/${2##*/}; exit;;
    */prometheus_*) [ -s $here/splits ] && names=prometheus || names="prometheus promtool";;
    */promtool_*) names=promtool;;
    */prometheus-alertmanager_*) names=prometheus-alertmanager;;
    *) names=bwrap;;
esac
/bin/mkdir -p $3/usr/bin
for name in $names; do
    /bin/cp $here/program $3/usr/bin/$name
done
"""

RUNS = "#!/bin/sh\necho 'version 2.42.0+ds'\n"
LACKS = """#!/bin/sh
echo "bwrap: error while loading shared libraries: libcap.so.2: cannot open shared object file" >&2
exit 127
"""
NEEDS = """#!/bin/sh
[ -e "$LD_LIBRARY_PATH/libpq5_1.0_amd64.deb" ] && { echo "${0##*/} (PostgreSQL) 17.6"; exit; }
echo "${0##*/}: error while loading shared libraries: libpq.so.5: cannot open shared object file" >&2
exit 127
"""
SIMULATED = """Reading package lists...
The following NEW packages will be installed:
Inst libicu72 (72.1-3 Debian:12 [amd64])
Inst libssl3 [3.0.1] (3.0.9 Debian:12 [amd64])
Inst libpq5 (17.6-0 Debian:12 [amd64])
Conf libpq5 (17.6-0 Debian:12 [amd64])
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    for name in ("prometheus", "promtool", "prometheus-alertmanager", "bwrap"):
        made.remove(name)
    made.install("apt-get", APT)
    made.install("dpkg-deb", DPKG)
    made.install("program", RUNS)
    (made.bin / "splits").touch()
    return made


@pytest.fixture
def without_server(machine: Machine) -> Machine:
    """One that lacks PostgreSQL alone, and a library of it."""
    for name in ("prometheus", "promtool", "alertmanager", "bwrap"):
        machine.says(name, f"{name} version 2.42.0")
    machine.remove("postgres")
    machine.remove("initdb")
    machine.install("postgres-program", NEEDS)
    (machine.bin / "numbered").write_text("17")
    (machine.bin / "lacks").write_text(SIMULATED)
    return machine


def test_packages_are_unpacked_once_without_touching_the_system(machine: Machine) -> None:
    first = machine.build("-o", "json")
    assert first.returncode == 0, first.stderr
    by_name = {each["name"]: each for each in json.loads(first.stdout)["programs"]}
    for name in ("prometheus", "promtool", "alertmanager", "bwrap"):
        assert by_name[name]["source"] == "debian"
        assert by_name[name]["path"].startswith(str(machine.cache))
    calls = (machine.bin / "apt-calls").read_text().splitlines()
    assert [line.split()[-1] for line in calls] == ["update", "prometheus", "prometheus-alertmanager", "bubblewrap"]
    for line in calls:
        assert f"Dir::State={machine.cache}" in line
        assert f"Dir::Cache={machine.cache}" in line
        assert "APT::Sandbox::User=root" in line
    assert not list(machine.cache.glob("lab/tmp/*"))
    (machine.bin / "apt-calls").unlink()
    assert machine.build().returncode == 0
    assert not (machine.bin / "apt-calls").exists()


def test_a_part_with_a_package_of_its_own_comes_with_it(machine: Machine) -> None:
    (machine.bin / "splits").write_text("promtool")
    done = machine.build("-o", "json")
    assert done.returncode == 0, done.stderr
    by_name = {each["name"]: Path(each["path"]) for each in json.loads(done.stdout)["programs"]}
    assert by_name["promtool"].parent == by_name["prometheus"].parent
    calls = (machine.bin / "apt-calls").read_text().splitlines()
    assert [line.split()[-1] for line in calls][:3] == ["update", "prometheus", "promtool"]


def test_what_is_installed_is_not_fetched(machine: Machine) -> None:
    machine.says("alertmanager", "alertmanager, version 0.27.0")
    machine.says("bwrap", "bubblewrap 0.8.0")
    done = machine.build("-o", "json")
    assert done.returncode == 0, done.stderr
    by_name = {each["name"]: each for each in json.loads(done.stdout)["programs"]}
    assert (by_name["alertmanager"]["source"], by_name["alertmanager"]["version"]) == ("path", "0.27.0")
    assert "bubblewrap" not in (machine.bin / "apt-calls").read_text()


def test_a_broken_program_on_path_does_not_hide_the_package(machine: Machine) -> None:
    machine.install("bwrap", LACKS)
    done = machine.build("-o", "json")
    assert done.returncode == 0, done.stderr
    assert {each["source"] for each in json.loads(done.stdout)["programs"] if each["name"] == "bwrap"} == {"debian"}


def test_a_missing_library_is_named(machine: Machine) -> None:
    machine.install("program", LACKS)
    failed = machine.build()
    assert failed.returncode == 6
    assert "the library libcap.so.2 is missing" in failed.stderr
    assert "apt-get install bubblewrap" in failed.stderr
    assert "keda-webhooks" in machine.built(), "what can be had is built all the same"


def test_one_package_that_cannot_be_had_does_not_keep_the_others_away(machine: Machine) -> None:
    (machine.bin / "no-prometheus").touch()
    (machine.bin / "no-update").touch()
    failed = machine.build()
    assert failed.returncode == 6
    assert "install prometheus: it cannot be downloaded: E: one source of many is broken; E: Un" in failed.stderr
    assert list(machine.cache.glob("lab/debian/*/bubblewrap/usr/bin/bwrap"))


def test_without_apt_or_network_one_sentence_says_what_to_install(machine: Machine) -> None:
    (machine.bin / "no-network").touch()
    offline = machine.build()
    assert offline.returncode == 6
    for package in ("prometheus", "prometheus-alertmanager", "bubblewrap"):
        why = f"install {package}: it cannot be downloaded: W: Temporary failure resolving; E: Failed to fetch\n"
        assert why in offline.stderr.partition("error: ")[2], "all of it once more at the end"
    machine.remove("apt-get")
    elsewhere = machine.build()
    assert elsewhere.returncode == 6
    assert (
        "error: install prometheus, prometheus-alertmanager, bubblewrap: this machine has no apt-get"
        in elsewhere.stderr
    )


def test_a_server_comes_with_the_libraries_it_lacks_and_no_compiler(without_server: Machine) -> None:
    machine = without_server
    done = machine.build("-o", "json")
    assert done.returncode == 0, done.stderr
    (server,) = (each for each in json.loads(done.stdout)["programs"] if each["name"] == "postgres")
    assert (server["source"], server["version"]) == ("debian", "17.6")
    home = Path(server["home"])
    assert Path(server["path"]) == home / "usr/lib/postgresql/17/bin/postgres"
    assert server["libraries"] == [str(home / "usr/lib/x86_64-linux-gnu")]
    there = {str(path.relative_to(home / "usr/lib")) for path in home.rglob("*") if path.is_file()}
    libraries = {f"x86_64-linux-gnu/{name}_1.0_amd64.deb" for name in ("libicu72", "libpq5")}
    own = {f"postgresql/17/{name}" for name in ("bin/initdb", "bin/postgres", "lib/plpgsql.so")}
    assert there == libraries | own
    calls = (machine.bin / "apt-calls").read_text().splitlines()
    simulated = next(line for line in calls if "--simulate" in line)
    assert simulated.endswith("--no-upgrade libc6 libicu72 libpq5")
    (machine.bin / "apt-calls").unlink()
    assert machine.build().returncode == 0
    assert not (machine.bin / "apt-calls").exists()


@pytest.mark.parametrize(
    ("file", "holds", "why"),
    [
        ("numbered", "14", "install postgresql 15 or newer: this system's packages have version 14"),
        ("numbered", "", "install postgresql 15 or newer: this system's packages have none"),
        ("lacks", "E: Unmet", "(apt-get install postgresql-17): its libraries cannot be had: E: Unmet"),
        ("lacks", "Inst libicu72 (7)", "(apt-get install postgresql-17): the library libpq.so.5 is missing"),
        ("no-libicu72", "", "it cannot be downloaded: E: Unable to locate package libicu72"),
        ("no-postgresql-17", "", "install postgresql-17: it cannot be downloaded: E: Unable to locate"),
    ],
)
def test_a_lab_does_without_a_server_and_says_why(without_server: Machine, file: str, holds: str, why: str) -> None:
    (without_server.bin / file).write_text(holds)
    done = without_server.build("-o", "json")
    assert done.returncode == 0, done.stderr
    assert why in done.stderr
    assert "postgres" not in [each["name"] for each in json.loads(done.stdout)["programs"]]
    assert not list(without_server.cache.rglob("initdb"))


def test_a_server_that_is_too_old_or_has_no_initdb_is_not_taken(without_server: Machine) -> None:
    without_server.says("postgres", "postgres (PostgreSQL) 16.2")
    alone = without_server.build("-o", "json")
    without_server.says("initdb", "initdb (PostgreSQL) 14.2")
    without_server.says("postgres", "postgres (PostgreSQL) 14.2")
    old = without_server.build("-o", "json")
    for done in (alone, old):
        assert done.returncode == 0, done.stderr
        assert [each["version"] for each in json.loads(done.stdout)["programs"] if each["name"] == "postgres"] == [
            "17.6"
        ]


def test_the_newest_of_several_servers_is_first(tmp_path: Path) -> None:
    (server,) = (each for each in debian.PACKAGED if each.name == "postgres")
    for version in ("9", "15", "17"):
        folder = tmp_path / "usr" / "lib" / "postgresql" / version / "bin"
        folder.mkdir(parents=True)
        for name in ("postgres", "initdb")[: 1 if version == "17" else 2]:
            (folder / name).touch()
    assert [path.parts[-3] for path in server.under(tmp_path)] == ["15", "9"], "17 has no initdb"
