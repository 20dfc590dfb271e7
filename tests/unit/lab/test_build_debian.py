"""Debian's packages: fetched by a made-up `apt-get` into the cache of an ordinary user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
[ -e $here/no-$last ] && { echo "E: Unable to locate package $last" >&2; exit 100; }
echo archive > ${last}_1.0_amd64.deb
"""

DPKG = """#!/bin/sh
here=${0%/*}
case $2 in
    */prometheus_*) names="prometheus promtool";;
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


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    for name in ("prometheus", "promtool", "prometheus-alertmanager", "bwrap"):
        made.remove(name)
    made.install("apt-get", APT)
    made.install("dpkg-deb", DPKG)
    made.install("program", RUNS)
    return made


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
