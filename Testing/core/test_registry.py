"""Models come and go: installed from a file or the web, taken up again after a broken line, checked, refused, removed."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from toys import toy_model

from DiffSegCore.catalogue import Entry, catalogue, entry_of, written
from DiffSegCore.cli import main
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.files import file_hash
from DiffSegCore.installing import install, remove, verify
from DiffSegCore.registry import load_model, model_files, own_folders
from DiffSegCore.resources import resource


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Path:
    return toy_model(tmp_path_factory.mktemp("elsewhere") / "toy.safetensors", (32, 64))


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return toy_model(tmp_path_factory.mktemp("another") / "toy.safetensors", (16, 16))


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Where the user's models go; not there yet."""
    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def web():
    """A server: `content` by path; it hangs up after `cut` bytes of an answer, forgets ranges if not `ranges`, notes what was `asked`."""
    state = SimpleNamespace(content={}, cut=None, ranges=True, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted, content = self.headers.get("Range"), state.content.get(self.path)
            state.asked.append(wanted)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.split("=")[1].rstrip("-")) if wanted and state.ranges else 0
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][:state.cut])

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def offered(web, toy, monkeypatch) -> Entry:
    """The toy in a catalogue, to be had from the web."""
    web.content["/toy.safetensors"] = toy.read_bytes()
    entry = entry_of(toy, place=f"{web.url}/toy.safetensors")
    monkeypatch.setattr("DiffSegCore.installing.catalogue", lambda: {"toy": entry})
    return entry


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_becomes_a_model_that_loads_by_name(home, toy):
    assert install(toy) == home / "toy.safetensors"
    assert model_files()["toy"] == home / "toy.safetensors" and load_model("toy").organs
    assert install(toy) == home / "toy.safetensors"  # twice is once


def test_without_a_variable_models_lie_in_the_users_home(tmp_path, monkeypatch):
    monkeypatch.delenv("DIFFSEG_MODELS", raising=False)
    monkeypatch.setattr("DiffSegCore.resources.sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert own_folders() == (tmp_path / "diffseg/models",)


def test_another_model_of_the_name_is_replaced_only_on_request(home, toy, other):
    install(toy)
    with pytest.raises(BadInput, match="another model 'toy'"):
        install(other)
    assert file_hash(install(other, replace=True)) == file_hash(other)


@pytest.mark.parametrize(("spoil", "words"), [("bytes", "damaged"), ("name", "nor a .safetensors file"), ("gone", "no model file"), ("hash", "SHA-256")])
def test_what_is_no_sound_model_is_not_installed(home, toy, tmp_path, spoil, words):
    source, sha256 = tmp_path / "given.safetensors", None
    content = bytearray(toy.read_bytes())
    if spoil == "bytes":
        content[-9] ^= 1
    source.write_bytes(content)
    if spoil == "name":
        source = source.rename(tmp_path / "given.onnx")
    elif spoil == "gone":
        source.unlink()
    elif spoil == "hash":
        sha256 = "0" * 64
    with pytest.raises(BadInput, match=words) as refusal:
        install(source, sha256=sha256)
    assert str(source) in str(refusal.value)
    assert not home.exists() or names(home) == []


def test_a_name_in_the_catalogue_is_fetched(home, offered, web):
    told = []
    path = install("toy", progress=lambda fraction, stage: told.append((fraction, stage)))
    assert file_hash(path) == offered.sha256 and names(home) == ["toy.safetensors"]
    assert any("MB" in stage for _, stage in told) and [f for f, _ in told] == sorted(f for f, _ in told)


def test_a_broken_download_goes_on_from_where_it_stopped(home, offered, web):
    web.cut = offered.bytes // 3
    with pytest.raises(BadInput, match="connection ended after .* try again"):
        install("toy")
    (part,) = home.iterdir()
    assert part.stat().st_size == web.cut
    web.cut = None
    assert file_hash(install("toy")) == offered.sha256
    assert web.asked == [None, f"bytes={offered.bytes // 3}-"] and names(home) == ["toy.safetensors"]


def test_a_stopped_download_goes_on_too(home, offered, web):
    def stop(fraction, stage):
        raise Cancelled

    with pytest.raises(Cancelled):
        install("toy", progress=stop)
    assert len(names(home)) == 1
    install("toy")
    assert names(home) == ["toy.safetensors"]


def test_a_server_without_ranges_sends_all_again(home, offered, web):
    web.cut = 1000
    with pytest.raises(BadInput):
        install("toy")
    web.cut, web.ranges = None, False
    assert file_hash(install("toy")) == offered.sha256


def test_a_wrong_hash_is_refused_and_not_gone_on_with(home, offered, web, other):
    web.content["/toy.safetensors"] = bytes(offered.bytes)
    with pytest.raises(BadInput, match="expected was"):
        install("toy")
    assert names(home) == []
    web.content["/toy.safetensors"] = other.read_bytes()  # a sound model, but not the one that was promised
    with pytest.raises(BadInput, match="expected was"):
        install("toy")
    assert names(home) == []


def test_a_part_that_is_longer_than_the_file_is_begun_anew(home, offered, web, toy):
    web.cut = 1000
    with pytest.raises(BadInput):
        install("toy")
    (part,) = home.iterdir()
    part.write_bytes(bytes(offered.bytes + 5))
    web.cut = None
    assert file_hash(install("toy")) == offered.sha256


def test_an_address_works_without_a_catalogue(home, web, toy):
    web.content["/models/my%20toy.safetensors?download=1"] = toy.read_bytes()
    assert install(f"{web.url}/models/my%20toy.safetensors?download=1") == home / "my_toy.safetensors"


def test_what_the_network_says_becomes_a_sentence(home, web):
    with pytest.raises(BadInput, match="refuses .*404"):
        install(f"{web.url}/nothing.safetensors")
    with pytest.raises(BadInput, match="HTTPS_PROXY"):
        install("http://127.0.0.1:9/toy.safetensors")


def test_removal_removes_and_spares_what_ships(home, toy):
    install(toy)
    assert not remove("toy").exists() and "toy" not in model_files()
    with pytest.raises(BadInput, match="ships with DiffSeg"):
        remove("head-neck-ct")
    for name in ("toy", "../elsewhere/toy"):
        with pytest.raises(BadInput, match="no model .* to remove"):
            remove(name)


def test_a_flipped_byte_is_found(home, toy):
    path = install(toy)
    assert [each.problem for each in verify("toy")] == [""]
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    assert "damaged" in verify("toy")[0].problem


def test_the_models_that_ship_are_those_of_the_catalogue(home):
    entries = catalogue()
    shipped = sorted(resource("Models").glob("*.safetensors"))
    assert {each.name for each in entries.values() if not each.is_remote} == {path.stem for path in shipped}
    for path in shipped:
        said = entry_of(path)
        kept = entries[path.stem]
        assert said == Entry(**{**vars(kept), "seconds": None, "measured_on": ""})
    assert all(not each.problem for each in verify())


def test_the_catalogue_comes_back_and_a_damaged_one_is_refused(toy, tmp_path):
    place = tmp_path / "models.json"
    place.write_text(written([entry_of(toy)]))
    assert catalogue(place) == {"toy": entry_of(toy)} and catalogue(tmp_path / "none.json") == {}
    place.write_text('{"models": [{"name": "x"}]}')
    with pytest.raises(BadInput, match="damaged"):
        catalogue(place)


def test_the_command_does_the_same(home, toy, capsys):
    assert main(["models", "install", str(toy)]) == 0
    assert main(["models", "verify", "toy"]) == 0
    assert "as it should be" in capsys.readouterr().out
    assert main(["models", "info", "toy"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["title"] == "A toy"
    (home / "toy.safetensors").write_bytes(b"nothing")
    assert main(["models", "verify", "--json"]) == 1
    assert any("damaged" in each["problem"] for each in json.loads(capsys.readouterr().out))
    assert main(["models", "remove", "toy"]) == 0 and main(["models", "remove", "toy"]) == 2
    assert main(["models", "info"]) == 2 and "Which model?" in capsys.readouterr().err


def test_the_list_tells_what_can_be_had(home, offered, monkeypatch, capsys):
    monkeypatch.setattr("DiffSegCore.catalogue.catalogue", lambda: {"toy": offered})
    assert main(["models"]) == 0
    assert "not installed" in capsys.readouterr().out
    assert main(["models", "info", "toy"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == offered.sha256
