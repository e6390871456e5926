"""Our metadata on a libvirt object: tags of earlier and of later versions are read, and written as they were."""

from dataclasses import replace

import pytest

from labctl.plan.names import MANAGEMENT_PORT
from labctl.plan.observed import Endpoint, Tag
from labctl.render.tag import parse_tag, render_tag

TAG = Tag("dmz-alice", "dmz", "alice", "web", "spec", "done", "fe80::1%lcb", "home", "golden")
# As it was written before a tag told of a seat, and where its machine answers.
OLD = (
    '<labctl:object xmlns:labctl="urn:labctl:object:1" lab="dmz-alice" topology="dmz" owner="alice" member="web" '
    'spec="spec" configured="done" address="fe80::1%lcb" home="home" golden="golden"/>'
)


def document(element: str) -> str:
    return f"<domain><metadata>{element}</metadata></domain>"


def test_a_tag_is_written_as_before_there_were_more_words() -> None:
    assert render_tag(TAG) == OLD
    assert parse_tag(document(OLD)) == TAG


@pytest.mark.parametrize("tag", [TAG, replace(TAG, seat="dmz-spare-1"), replace(TAG, answers="443")])
def test_a_tag_is_read_as_it_was_written(tag: Tag) -> None:
    assert parse_tag(document(render_tag(tag))) == tag


def test_words_of_a_later_version_are_passed_over_and_missing_ones_are_not() -> None:
    assert parse_tag(document(OLD.replace(" lab=", ' colour="red" lab='))) == TAG
    assert parse_tag(document(OLD.replace(' spec="spec"', ""))) is None
    assert parse_tag("<domain/>") is None


def test_where_a_machine_answers() -> None:
    assert TAG.endpoint == Endpoint("fe80::1%lcb", MANAGEMENT_PORT)
    assert replace(TAG, answers="443").endpoint == Endpoint("fe80::1%lcb", 443)
    assert replace(TAG, answers="nothing").endpoint is None
