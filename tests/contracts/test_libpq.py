"""Which database a URL names: read as the driver's libpq reads it, and never two databases by one name."""

from contextlib import suppress
from itertools import combinations

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from tmws_adapters.local.libpq import database_of, defaults_in, former_name_of, parameters_of, stand_in
from tmws_adapters.settings import load_settings
from tmws_core.errors import ConfigurationError

HERE = {"login": "ada"}
"""What an environment without a variable of libpq gives."""

PASSWORD = "Tr0ub4dor"

KNOWN = {each.keyword.decode() for each in psycopg.pq.Conninfo.get_defaults()}

PIECES = (
    *("a", "b1", "5", "5432", "[::1]", "a:", "u:p@", "h/d?", "%2F", "%40", "%zz", "%00", "%C3%A9", *":::@/?#,[]&=+%"),
    *("host=", "port=", "dbname=", "user=", "options=", "hostaddr=", "password="),
)


def read(url: str) -> dict[str, str] | None:
    """Return what libpq reads in a URL, or None if it refuses it."""
    with suppress(psycopg.Error, UnicodeError):
        return {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return None


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("u:p#w@h/db")
@example("u:p?w@h/db")
@example("u:p:w@h/db")
@example("u?host=h@i/db")
@example("h?host=a@b")
@example(":p@[::1]:5,h,:6/d")
@example("[fe80::1%25en0]/d/e?dbname=")
@example("%2Frun%2Fpg:5/d?options=-csearch_path%3Da+b")
@example("h/d?host=a&host=b&")
@example("h,i?")
def test_a_url_is_read_as_libpq_reads_it(rest: str) -> None:
    url = f"postgresql://{rest}"
    known, found = read(url), parameters_of(url)

    # Who connects hears of parameters that there are not, and what is left out is of a URL that shows a password.
    if known is not None and found is not None:
        assert found == known
    elif known is not None:
        assert "@" in known.get("host", "") + known.get("dbname", "") or not known["port"].replace(",", "").isdigit()
    elif found is not None:
        assert (
            not found.keys() <= conninfo_to_dict("").keys() | {"host", "port", "dbname", "user", "options"}
            or "" in found
        )


DIFFERENT = [
    ("postgresql://ada@/tmws", {}),
    ("postgresql://bob@/tmws", {}),
    ("postgresql://ada@/", {"PGDATABASE": "one"}),
    ("postgresql://", {"PGUSER": "carol"}),
    ("postgresql://ada@/tmws?host=/cloudsql/prod", {}),
    ("postgresql://ada@/tmws?host=/cloudsql/staging", {}),
    ("postgresql://ada@/tmws?host=db&port=1", {}),
    ("postgresql://ada@/tmws?host=db&port=2", {}),
    ("postgresql://ada@db:3/tmws", {"PGPORT": "1", "PGHOST": "db"}),
    ("postgresql://ada@db/tmws", {"PGPORT": "4"}),
    ("postgresql://ada@db/tmws?hostaddr=10.0.0.1", {}),
    ("postgresql://ada@db/tmws", {"PGHOSTADDR": "10.0.0.2"}),
    ("postgresql://ada@db/?dbname=one", {}),
    ("postgresql://ada@db/tmws?dbname=two", {}),
    ("postgresql://ada@db/tmws?options=-csearch_path%3Dteam_a", {}),
    ("postgresql://ada@db/tmws?options=-csearch_path%3Dteam_b", {}),
    ("postgresql://ada@db/tmws", {"PGOPTIONS": "-c search_path=team_c"}),
    ("postgresql://ada@db/tmws?options=-csearch_path%3Da%20-crole%3Db", {}),
    ("postgresql://ada@db/tmws?service=a", {}),
    ("postgresql://ada@db/tmws", {"PGSERVICE": "b"}),
    ("postgresql://ada@db/tmws?service=a", {"PGSERVICEFILE": "/etc/services"}),
    ("postgresql://ada@db/tmws?service=a", {"PGSYSCONFDIR": "/etc/pg"}),
    ("postgresql://ada@db/tmws?service=a", {"HOME": "/elsewhere"}),
    ("postgresql://ada@one:1,two:2/tmws", {}),
    ("postgresql://ada@one:2,two:1/tmws", {}),
    ("postgresql://ada@one,two/tmws", {"PGPORT": "5"}),
    ("postgresql://ada@/tmws?host=one,two", {"PGPORT": "5"}),
    ("postgresql://ada@[::1]/tmws", {}),
    ("postgresql://ada@[::1]:5/tmws", {}),
    ("postgresql://ada@db%2Fone/tmws", {}),
    ("postgresql://ada@db/one/tmws", {}),
    ("postgresql://ada@db/tmws%3Foptions=x", {}),
    ("postgresql://ada:Tr0ub4dor#3@prod/tmws", {}),
    ("postgresql://ada:Tr0ub4dor#3@test/tmws", {}),
    ("postgresql://ada:Tr0ub4dor?3@prod/one", {}),
    ("postgresql://ada:Tr0ub4dor?3@test/one", {}),
]


def test_two_databases_never_have_one_name_or_one_owner() -> None:
    given = [(url, {**defaults_in(environ), "login": "ada"}) for url, environ in DIFFERENT]
    names = [database_of(url, defaults) for url, defaults in given]

    assert None not in names
    assert [pair for pair in combinations(names, 2) if len(set(pair)) == 1] == []
    assert len({stand_in(url, defaults) for url, defaults in given}) == len(given)
    assert not any(part in str(name) for name in names for part in (PASSWORD, "#3", "?3"))


@pytest.mark.parametrize(
    ("url", "environ", "name"),
    [
        ("postgresql://ada:secret@db:5432/tmws?sslmode=require", {}, "postgresql://ada@db:5432/tmws"),
        ("postgres://ada:s%40e#c?r:et@db/tmws?password=other", {"PGPASSWORD": "x"}, "postgresql://ada@db/tmws"),
        ("postgresql://db", {}, "postgresql://ada@db/ada"),
        ("postgresql://bob@?dbname=", {"PGDATABASE": "tmws"}, "postgresql://bob@/bob"),
        ("postgresql://bob@", {"PGDATABASE": "tmws", "PGHOST": "/tmp"}, "postgresql://bob@%2Ftmp/tmws"),
        ("postgresql://bob@/?host=", {"PGHOST": "/tmp", "PGPORT": "7"}, "postgresql://bob@:7/bob"),
        ("postgresql://%2Ftmp/tmws", {}, "postgresql://ada@%2Ftmp/tmws"),
        ("postgresql:///tmws?host=/tmp", {}, "postgresql://ada@%2Ftmp/tmws"),
        ("postgresql:///tmws?host=a,b&port=7", {}, "postgresql://ada@a:7,b:7/tmws"),
        ("postgresql://a:7,b:7/tmws?user=bob", {}, "postgresql://bob@a:7,b:7/tmws"),
        ("postgresql:///tmws?options=-c%20tmws.key%3Dsecret", {}, "postgresql://ada@/tmws?options=%2373308a3e4080fcb4"),
    ],
)
def test_a_database_has_one_name_wherever_it_is_told_and_no_secret_in_it(
    url: str, environ: dict[str, str], name: str
) -> None:
    assert database_of(url, {**defaults_in(environ), "login": "ada"}) == name


@pytest.mark.parametrize(
    "rest", [f"ada:{PASSWORD}@3@db/tmws", f"ada:12/{PASSWORD}@db/tmws", f"ada:{PASSWORD}/3@db/tmws", "db/%zz", "[::1"]
)
def test_a_url_in_which_a_password_would_be_shown_names_nothing(rest: str) -> None:
    assert database_of(f"postgresql://{rest}", HERE) is None
    assert former_name_of(f"postgresql://{rest}", HERE) is None
    with pytest.raises(ConfigurationError, match="%2F for /") as raised:
        load_settings({"TMWS_DATABASE_URL": f"postgresql://{rest}"}, dotenv=None)
    assert PASSWORD not in raised.value.message


@pytest.mark.parametrize(
    ("url", "environ", "former"),
    [
        ("postgresql://ada:secret@db:5/tmws?sslmode=require", {}, "postgresql://db:5/tmws"),
        ("postgresql://%2frun/tmws", {"PGUSER": "bob"}, "postgresql://%2frun/tmws"),
        ("postgresql://ada@db", {}, None),
        ("postgresql://ada@db/tmws", {"PGPORT": "6"}, None),
        ("postgresql://ada@db:5/tmws", {"PGPORT": "6"}, "postgresql://db:5/tmws"),
        ("postgresql://ada@/tmws?host=/cloudsql/prod", {}, None),
        ("postgresql://ada:Tr0ub4dor#3@db/tmws", {}, None),
    ],
)
def test_what_a_database_was_called_before_is_known_where_no_other_was(
    url: str, environ: dict[str, str], former: str | None
) -> None:
    assert former_name_of(url, {**defaults_in(environ), "login": "ada"}) == former


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://ada:secret@db/tmws?sslmode=require", "postgresql-18eecb2a3a08da14"),
        ("postgresql:///tmws", "postgresql-523297a4e4ceff01"),
    ],
)
def test_the_files_of_a_helper_are_called_as_before(url: str, name: str) -> None:
    assert stand_in(url, HERE) == name
