"""Where a demonstration lives: a configuration that is accepted, a directory that is ours, data that is invented."""

import re
import socket
from pathlib import Path

import pytest

from gatebook.config import load
from gatebook.demo.customers import PUBLISHED_TEST_CARDS, customers, orders
from gatebook.demo.people import JOBS, PEOPLE, job_claims, person_claims
from gatebook.demo.place import DemoError, Place, furnish, occupied, settle


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(directory=tmp_path, gate_port=8080, desk_port=8081, idp_port=9002, payments_port=9001)


def test_its_configuration_is_accepted(place: Place) -> None:
    furnish(place)
    deployment = load(place.configuration).deployment
    assert deployment.profile == "dev"
    [server] = deployment.servers
    assert server.resource == place.mcp_url
    assert Path(deployment.data_dir) == place.book
    assert deployment.desk is not None and deployment.desk.registration
    [idp] = deployment.idps
    assert idp.url == place.people_url


def test_a_person_holds_the_same_role_by_login_and_by_a_pasted_token(place: Place) -> None:
    furnish(place)
    [support] = [role for role in load(place.configuration).deployment.roles if role.name == "support"]
    assert {(match.issuer, match.group) for match in support.match} == {
        ("people", "support"),
        ("people-tokens", "support"),
    }


def test_the_api_key_is_kept_and_for_its_owner_only(place: Place) -> None:
    furnish(place)
    key = place.api_key_file.read_text()
    furnish(place)
    assert place.api_key_file.read_text() == key
    assert place.api_key_file.stat().st_mode & 0o777 == 0o600


def test_nobody_may_delete_export_or_refund(place: Place) -> None:
    furnish(place)
    allowed = {
        tool for role in load(place.configuration).deployment.roles for grant in role.allow for tool in grant.tools
    }
    assert allowed == {"get_order", "list_orders", "get_customer", "run_model_inference"}


def test_an_earlier_demonstration_is_cleared_away_unless_kept(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    with occupied(directory, keep=False):
        (directory / "book").mkdir()
        (directory / "book" / "entry").write_text("x")
    with occupied(directory, keep=True):
        assert (directory / "book" / "entry").exists()
    with occupied(directory, keep=False):
        assert not (directory / "book").exists()


def test_a_link_in_the_directory_is_removed_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis").write_text("x")
    directory = tmp_path / "demo"
    with occupied(directory, keep=False):
        (directory / "link").symlink_to(precious)
    with occupied(directory, keep=False):
        assert not (directory / "link").is_symlink()
    assert (precious / "thesis").exists()


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("x")
    with pytest.raises(DemoError, match="holds no demonstration"), occupied(tmp_path, keep=False):
        pass
    assert (tmp_path / "thesis").exists()


def test_two_demonstrations_do_not_share_a_directory(tmp_path: Path) -> None:
    with (
        occupied(tmp_path / "demo", keep=False),
        pytest.raises(DemoError, match="another demonstration is running"),
        occupied(tmp_path / "demo", keep=False),
    ):
        pass


def test_a_port_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=f"port {port} is in use"):
            settle(tmp_path, port)


def test_its_four_ports_differ(tmp_path: Path) -> None:
    place = settle(tmp_path, None)
    assert len({place.gate_port, place.desk_port, place.idp_port, place.payments_port}) == 4


def test_there_are_forty_customers_with_published_test_numbers_only() -> None:
    people = customers()
    assert len(people) == len({customer.customer_id for customer in people}) == 40
    assert {customer.card_number for customer in people} <= set(PUBLISHED_TEST_CARDS)
    assert all(_luhn_valid(number) for number in PUBLISHED_TEST_CARDS)
    assert all(customer.email.endswith(".example") for customer in people)
    assert {order.customer_id for order in orders()} == {customer.customer_id for customer in people}


def test_only_alice_has_mfa_evidence_and_only_one_job_a_protected_branch() -> None:
    with_mfa = [name for name, person in PEOPLE.items() if "mfa" in str(person_claims(person, agent="a", now=0)["amr"])]
    assert with_mfa == ["alice"]
    protected = [name for name, job in JOBS.items() if job_claims(job, run_id="1")["ref_protected"] == "true"]
    assert protected == ["fraud-model"]


def test_every_claim_of_a_job_is_a_string_as_the_providers_is() -> None:
    assert all(isinstance(value, str) for value in job_claims(JOBS["fraud-model"], run_id="1").values())
    assert re.fullmatch(r"repo:[\w/-]+:ref:refs/heads/\w+", str(job_claims(JOBS["fraud-model"], run_id="1")["sub"]))


def _luhn_valid(number: str) -> bool:
    doubled = [int(digit) * (2 if position % 2 else 1) for position, digit in enumerate(reversed(number))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
