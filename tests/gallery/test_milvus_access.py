"""The way to an engine: TLS, tokens, databases, a full disk; what is wrong with it is told with what to do."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from fieldmark.errors import ConfigError, GalleryError
from fieldmark.gallery.address import EngineAccess, MilvusAddress, parse_address

pytest.importorskip("pymilvus")

import grpc
from pymilvus import MilvusClient, MilvusException

from fieldmark.gallery.milvus.connection import FLAT
from fieldmark.gallery.milvus.files import MilvusFiles
from fieldmark.gallery.milvus.index import MilvusIndex
from fieldmark.gallery.store import Filter
from fieldmark.types import Item, Medium
from milvus_engine import TOKEN, make_certificate, open_files, wrap_in_tls


def connect(address: str, *, call_seconds: float = 2.0, **access) -> MilvusFiles:
    parsed = parse_address(address)
    assert isinstance(parsed, MilvusAddress)
    return MilvusFiles(parsed, access=EngineAccess(**access), call_seconds=call_seconds)


@contextmanager
def start_fake(answer: Callable) -> Iterator[int]:
    """An engine that gives one answer to every call; gives its port."""

    class Answering(grpc.GenericRpcHandler):
        def service(self, handler_call_details):
            return grpc.unary_unary_rpc_method_handler(lambda _, context: answer(context))

    engine = grpc.server(ThreadPoolExecutor(2), handlers=[Answering()])
    port = engine.add_insecure_port("127.0.0.1:0")
    engine.start()
    try:
        yield port
    finally:
        engine.stop(None)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def encrypted(milvus_server, tmp_path_factory):
    """An engine behind TLS: its address without the name, its certificate, and one that is not its."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder, "engine")
    other, _ = make_certificate(folder, "other")
    with wrap_in_tls(int(milvus_server.rpartition(":")[2]), certificate=certificate, key=key) as port:
        yield f"127.0.0.1:{port}", certificate, other


def test_a_gallery_behind_tls_is_used_with_the_certificate_of_its_engine(encrypted, unit_rows, embeddings_of):
    address, certificate, _ = encrypted
    files = connect(
        f"milvus+tls://{address}/tls_{uuid.uuid4().hex[:8]}", call_seconds=20.0, authority=certificate, token=TOKEN
    )
    store = MilvusIndex.create(files, fingerprint="sparrow", dim=8, vectors=FLAT)
    embeddings = embeddings_of((Item("bird", Medium.AUDIO), unit_rows(3)))
    store.add(embeddings, content_hash_by_item_id={"bird": "h"})
    assert store.search(embeddings.embedding[1], k=1)[0].item_id == "bird"
    assert str(files).startswith("milvus+tls://")


def test_a_certificate_that_is_not_trusted_is_told(encrypted):
    address, _, other = encrypted
    for access in ({}, {"authority": other}):
        with pytest.raises(GalleryError, match=r"does not answer.*FIELDMARK_MILVUS_CA names the certif") as caught:
            connect(f"milvus+tls://{address}/birds", **access)
        assert caught.value.kind == "engine_unreachable"


def test_tls_on_one_side_alone_is_told(encrypted, milvus_server):
    address, certificate, _ = encrypted
    with pytest.raises(GalleryError, match=r"does not answer.*milvus\+tls:// is for those with it"):
        connect(f"milvus://{address}/birds")
    with pytest.raises(GalleryError, match=r"does not answer.*FIELDMARK_MILVUS_CA"):
        connect(f"{milvus_server.replace('milvus', 'milvus+tls')}/birds", authority=certificate)


def test_a_missing_file_of_certificates_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file.*Give the PEM file"):
        connect("milvus+tls://127.0.0.1:1/birds", authority=tmp_path / "none.pem")


# ---------------------------------------------------------------- tokens and databases


@pytest.mark.parametrize(
    ("token", "status", "answer", "expected"),
    [
        (
            "root:secret",
            "UNAUTHENTICATED",
            "auth check failure",
            r"refuses the token: auth check .* Set FIELDMARK_MIL",
        ),
        (None, "UNAUTHENTICATED", "missing authorization in header", r"asks for a token, and none was given: missing"),
        (
            "jay:secret",
            "PERMISSION_DENIED",
            "PrivilegeQuery: permission deny to jay",
            r"does not allow this to the user of the token: Pri.* the right on 'birds' and 'birds__files', or set FIEL",
        ),
    ],
)
def test_an_engine_that_refuses_is_told_without_the_token(token, status, answer, expected):
    def refuse(context):
        context.abort(grpc.StatusCode[status], answer)

    with start_fake(refuse) as port, pytest.raises(GalleryError, match=expected) as caught:
        connect(f"milvus://127.0.0.1:{port}/birds", token=token)
    assert caught.value.kind == "engine_access"
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def guarded(milvus_server):
    """The client of an administrator of an engine that asks for tokens."""
    if TOKEN is None:
        pytest.skip("needs FIELDMARK_TEST_MILVUS and FIELDMARK_TEST_MILVUS_TOKEN, of an administrator")
    return MilvusClient(uri=milvus_server.replace("milvus", "http"), token=TOKEN)


def test_a_guarded_engine_takes_the_right_token_alone(guarded, milvus_server):
    address = f"{milvus_server}/birds"
    connect(address, call_seconds=20.0, token=TOKEN)
    for token in ("root:not-this", "nobody:at-all"):
        with pytest.raises(GalleryError, match=r"refuses the token: auth check failure.* Set FIELDMARK_MILVUS_TOKEN"):
            connect(address, token=token)
    with pytest.raises(GalleryError, match=r"asks for a token, and none was given.* Set FIELDMARK_MILVUS_TOKEN"):
        connect(address)


RIGHTS = {
    "stranger": (),
    "reader": ("Query", "Search"),
    "writer": ("Query", "Search", "Insert", "Upsert", "Delete", "Flush", "GetFlushState"),
}
"""As the guide names them."""


@pytest.fixture
def users(guarded):
    """A gallery's name, and the tokens of users with rights on it; they go afterwards, since Milvus has ten roles."""
    name = f"rights_{uuid.uuid4().hex[:8]}"
    granted = [
        (f"{kind}_{name}", "Collection", privilege, collection)
        for kind, privileges in RIGHTS.items()
        for privilege in privileges
        for collection in (name, f"{name}__files")
    ]
    for kind in RIGHTS:
        guarded.create_user(f"{kind}_{name}", "secret-one")
        guarded.create_role(f"{kind}_{name}")
        guarded.grant_role(f"{kind}_{name}", f"{kind}_{name}")
    for each in granted:
        guarded.grant_privilege(*each)
    yield name, {kind: f"{kind}_{name}:secret-one" for kind in RIGHTS}
    for each in granted:
        guarded.revoke_privilege(*each)
    for kind in RIGHTS:
        guarded.drop_user(f"{kind}_{name}")
        guarded.drop_role(f"{kind}_{name}")


def test_users_of_a_guarded_engine_do_what_their_role_may(users, milvus_server, unit_rows, embeddings_of):
    name, tokens = users
    store = MilvusIndex.create(open_files(milvus_server, name), fingerprint="sparrow", dim=8)
    embeddings = embeddings_of((Item("bird", Medium.AUDIO), unit_rows(3)))
    store.add(embeddings, content_hash_by_item_id={"bird": "h"})
    address = f"{milvus_server}/{name}"

    def open_as(kind):
        return MilvusIndex.open(connect(address, call_seconds=20.0, token=tokens[kind]))

    refused = rf"does not allow this to the user of the token: Privilege.*Give the user's role the right on '{name}'"
    with pytest.raises(GalleryError, match=refused):
        open_as("stranger")
    reader = open_as("reader")
    assert reader.search(embeddings.embedding[1], k=1)[0].item.item_id == "bird"
    with pytest.raises(GalleryError, match=refused) as caught:
        reader.add(embeddings, content_hash_by_item_id={"bird": "h"})
    assert "secret" not in str(caught.value)
    writer = open_as("writer")
    writer.add(embeddings_of((Item("jay", Medium.AUDIO), unit_rows(2))), content_hash_by_item_id={"jay": "h"})
    writer.remove(["bird"])
    writer.optimize()
    assert (store.item_count(), store.segment_count()) == (1, 2)


def test_a_database_that_is_not_there_is_told(milvus_server):
    with pytest.raises(GalleryError, match=r"has no database 'nowhere'.*Make it there") as caught:
        connect(f"{milvus_server}/nowhere/birds", token=TOKEN)
    assert caught.value.kind == "engine_database"


# ---------------------------------------------------------------- a full disk


def test_a_full_disk_at_the_engine_is_told_and_what_was_acknowledged_stays(
    milvus_server, unit_rows, embeddings_of, monkeypatch
):
    store = MilvusIndex.create(
        open_files(milvus_server, f"full_{uuid.uuid4().hex[:8]}"), fingerprint="sparrow", dim=8, vectors=FLAT
    )

    def add(name, seed):
        embeddings = embeddings_of((Item(name, Medium.AUDIO), unit_rows(2, seed=seed)))
        store.add(embeddings, content_hash_by_item_id={name: "h"})
        return embeddings

    kept = add("kept", 1)
    handler = type(store._connection._client._get_connection())

    def refuse(*arguments, **options):
        raise MilvusException(message="failed to write WAL: write /data/wal: no space left on device")

    for method in ("batch_insert", "upsert"):
        monkeypatch.setattr(handler, method, refuse)
    with pytest.raises(GalleryError, match=r"is full: .*no space left.*acknowledged is kept. Free space") as caught:
        add("lost", 2)
    assert caught.value.kind == "engine_full"
    assert store.search(kept.embedding[0], k=5, where=Filter())[0].item_id == "kept"
    monkeypatch.undo()
    monkeypatch.setattr("fieldmark.gallery.milvus.files._DEAD_SECONDS", 0.3)
    add("lost", 2)  # the same command again
    assert (store.item_count(), store.segment_count(), store.find_unsound_items()) == (2, 4, {})
