"""Files of the data directory: whose they may be, what they may be, and for whom they are made."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tmws_adapters.auditing import PositionFile
from tmws_adapters.local.finding import knock
from tmws_adapters.local.holding import hold
from tmws_adapters.local.lock import is_taken, take
from tmws_adapters.local.place import Place
from tmws_adapters.local.record import Record, read, write
from tmws_adapters.local.starting import advice
from tmws_adapters.private import MOST_BYTES, Unfit, make_directory, read_own, read_small
from tmws_adapters.profiles.files import profiles_in
from tmws_adapters.secret import secret_of
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError, InvalidField

pytestmark = pytest.mark.anyio

SECRET = "a" * 64

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def planted(home: Path, content: str = SECRET, *, rights: int = 0o600) -> Path:
    file = home / "secret_key"
    file.write_text(content)
    file.chmod(rights)
    return file


def refusal(home: Path) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as raised:
        secret_of("", home, required=False)
    assert "TMWS_SECRET_KEY" in raised.value.remedy
    return raised.value


def test_every_directory_that_is_made_is_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        make_directory(str(tmp_path / "a" / "b" / "c"))
        make_directory(str(tmp_path / "a" / "b" / "c"))
        secret_of("", tmp_path / "d" / "e", required=False)
        Place(str(tmp_path / "f" / "g" / "tmws.db")).prepare()
    finally:
        os.umask(former)

    made = [each for each in tmp_path.rglob("*") if each.is_dir()]
    assert len(made) == 9
    assert {mode(each) for each in made} == {0o700}


def test_a_file_in_the_way_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")

    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises((FileExistsError, NotADirectoryError)):
            make_directory(str(path))


def test_nothing_waits_for_the_other_end_of_a_pipe(home: Path) -> None:
    pipe = home / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(ConfigurationError, match="regular"):
        load_settings({"TMWS_HOME": str(home), "TMWS_LICENSE_KEY_FILE": str(pipe)}, dotenv=None)
    with pytest.raises(InvalidField, match="regular"):
        profiles_in(pipe)
    for opening in (take, is_taken):
        with pytest.raises(Unfit, match="regular"):
            opening(str(pipe))
    assert read(str(pipe)) is None


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_the_secret_is_refused(home: Path, make: Callable[[Path], None]) -> None:
    make(home / "secret_key")

    assert "is no regular file" in refusal(home).reason


def test_a_pipe_in_the_place_of_the_log_has_no_last_line(home: Path) -> None:
    place = Place(str(home / "tmws.db"))
    place.prepare()
    os.mkfifo(place.log)

    assert advice(place) == f"See {place.log}"


def test_a_record_is_written_whatever_is_in_its_way(home: Path) -> None:
    record = Record(pid=7, port=8, secret="ab", version="3", kind="owner")
    path = home / "record"
    os.mkfifo(path)
    victim = home / "victim"
    victim.write_text("precious")
    (home / "record.7").symlink_to(victim)

    write(str(path), record)

    found = read(str(path))
    assert found is not None
    assert found.port == 8
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("length", [MOST_BYTES, MOST_BYTES + 1])
def test_a_small_file_has_a_bound(home: Path, length: int) -> None:
    (home / "file").write_bytes(b"x" * length)

    if length == MOST_BYTES:
        assert len(read_small(str(home / "file"))) == length
        assert len(read_own(str(home / "file"))) == length
        return
    for reading in (read_small, read_own):
        with pytest.raises(Unfit, match="more than"):
            reading(str(home / "file"))


@pytest.mark.parametrize("rights", [0o600, 0o640, 0o644, 0o664])
def test_a_secret_that_only_was_readable_becomes_private(home: Path, rights: int) -> None:
    file = planted(home, rights=rights)

    assert secret_of("", home, required=False) == SECRET
    assert mode(file) == 0o600


@pytest.mark.parametrize("rights", [0o666, 0o602, 0o622])
def test_a_secret_that_every_user_could_write_is_refused(home: Path, rights: int) -> None:
    file = planted(home, rights=rights)

    assert "can be written by every user" in refusal(home).reason
    assert mode(file) == rights


@pytest.mark.parametrize("there", [True, False])
def test_no_secret_is_read_or_made_where_every_user_may_replace_it(home: Path, *, there: bool) -> None:
    if there:
        planted(home)
    home.chmod(0o777)

    assert f"{home} can be written by every user" in refusal(home).reason
    assert (home / "secret_key").exists() is there

    home.chmod(0o1777)
    assert len(secret_of("", home, required=False)) == 64


def test_a_secret_of_nothing_is_no_secret(home: Path) -> None:
    planted(home, "\n")

    assert "fewer than 32 characters" in refusal(home).reason


@only_root
def test_a_secret_of_another_user_is_refused(home: Path) -> None:
    os.chown(planted(home), 65534, 65534)

    assert "belongs to another user" in refusal(home).reason


@only_root
@pytest.mark.parametrize("theirs", [True, False])
async def test_a_signed_position_is_believed_only_if_it_is_ours(home: Path, *, theirs: bool) -> None:
    file = home / "audit-signed.json"
    file.write_text('{"log": {"row": 1, "hash": "00", "key": "k", "signature": "s", "rows": 1}}')
    file.chmod(0o600)
    position = PositionFile(file, "log")
    read_positions = position._read()  # noqa: SLF001 - what of it is a checkpoint is the matter of others
    assert read_positions.keys() == {"log"}

    if theirs:
        os.chown(file, 65534, 65534)
    else:
        file.chmod(0o666)

    assert await position.last() is None
    assert position._read() == {}  # noqa: SLF001 - as above


@only_root
def test_nobody_speaks_to_an_owner_whose_record_another_user_has_written(home: Path) -> None:
    place = Place(str(home / "tmws.db"))
    with hold(place) as holding:
        assert holding is not None
        os.chown(place.record, 65534, 65534)

        with pytest.raises(Unfit, match="belongs to another user") as raised:
            knock(place)
        assert read(place.record) is None

    assert raised.value.filename == place.record


def test_nobody_speaks_to_an_owner_in_a_directory_where_every_user_may_replace_it(home: Path) -> None:
    place = Place(str(home / "tmws.db"))
    with hold(place) as holding:
        assert holding is not None
        Path(place.record).parent.chmod(0o777)

        with pytest.raises(Unfit, match="can be written by every user"):
            knock(place)


async def test_a_pipe_in_the_place_of_the_signed_positions_holds_none(home: Path) -> None:
    file = home / "audit-signed.json"
    os.mkfifo(file)

    assert await PositionFile(file, "log").last() is None
