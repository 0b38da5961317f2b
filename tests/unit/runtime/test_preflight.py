# SPDX-License-Identifier: AGPL-3.0-or-later
"""`check` finds what a run would refuse at its start, all at once, each with its line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import openvino as ov
import pytest
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.renamed_bundle import write_renamed_bundle
from tests.fakes.tiny_model import build_tiny_model
from typer.testing import CliRunner

from vision_line.cli.check import check_file
from vision_line.cli.main import cli
from vision_line.devices import selection
from vision_line.devices.cpu.openvino_engine import OpenVino
from vision_line.devices.model.model import SHIPPED_BUNDLE, Model, open_model
from vision_line.errors import ConfigError
from vision_line.ports import ShapeHW
from vision_line.runtime.options import RunOptions

CAMERA = '[[stream]]\nname = "{name}"\nurl = "rtsp://127.0.0.1:1/x"\n'


def check(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str], model: Path | None = None, device: str | None = None
) -> tuple[int, list[str]]:
    """Check a configuration with records below `folder`; return the exit code and what was said of it on stderr."""
    path = folder / "streams.toml"
    path.write_text(f"config_version = 1\n{text}", encoding="utf-8")
    code = check_file(RunOptions(path, model=model, device=device), probe=False)
    return code, [line.replace(f"{path}:", "") for line in capsys.readouterr().err.splitlines()]


_COMPILED: dict[tuple[bytes, ShapeHW, bool, str], ov.CompiledModel] = {}


@pytest.fixture(autouse=True)
def _compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile each model once: nearly every check opens the shipped one, and proves it each time."""
    compile_model = OpenVino.compiled

    def compiled(
        openvino: OpenVino, model: Model, path: Path, shape: ShapeHW, *, low_precision: bool, precision: str = "f32"
    ) -> ov.CompiledModel:
        key = (model.content(path), shape, low_precision, precision)
        if key not in _COMPILED:
            _COMPILED[key] = compile_model(
                openvino, model, path, shape, low_precision=low_precision, precision=precision
            )
        return _COMPILED[key]

    monkeypatch.setattr(OpenVino, "compiled", compiled)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_good_configuration_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said, and nothing is made."""
    assert check(tmp_path, CAMERA.format(name="a"), capsys) == (0, [])
    assert [path.name for path in tmp_path.iterdir()] == ["streams.toml"]


def test_all_problems_are_found_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Classes, device, files and outputs, with their lines; a disabled camera is not looked at."""
    (tmp_path / "in-the-way").touch()
    text = (
        '[model]\ndevice = "cuda:7"\n'
        '[record]\ndirectory = "in-the-way/records"\n'
        '[dashboard]\nsvg = "nowhere/last.svg"\n'
        "[defaults]\nreject_thresholds = { shrot = 0.5 }\nwarn_thresholds = { sprr = 0.4 }\n"
        + CAMERA.format(name="a")
        + "thresholds = { open = 0.5, scrach = 0.5 }\n"
        + '[[stream]]\nname = "b"\nurl = "file:gone.mp4"\n'
        + '[[stream]]\nname = "c"\nurl = "file:empty/*.png"\n'
        + '[[stream]]\nname = "d"\nurl = "file:gone.mp4"\nenabled = false\n'
    )
    code, said = check(tmp_path, text, capsys)
    known = ", ".join(open_model(None).classes)

    assert code == 2
    assert said == [
        f"14: stream[a].thresholds.scrach: no class of the model, expected one of {known}",
        f"9: defaults.reject_thresholds.shrot: no class of the model, expected one of {known}",
        f"10: defaults.warn_thresholds.sprr: no class of the model, expected one of {known}",
        *[line for line in said if line.startswith("3: model.device: ")],
        "5: record.directory: in-the-way/records: cannot be written: Not a directory",
        f"7: dashboard.svg: nowhere/last.svg: cannot be written: there is no folder {tmp_path}/nowhere",
        f"17: stream[b].url: NOT_FOUND: no file '{tmp_path}/gone.mp4'",
        f"20: stream[c].url: NOT_FOUND: no images at '{tmp_path}/empty/*.png'",
    ]
    assert len(said) == 8


def test_a_missing_model_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file's model and the command line's, which goes before it."""
    text = '[model]\npath = "none"\n' + CAMERA.format(name="a")
    wanted = "not found, expected a bundle folder or an ONNX file"

    assert check(tmp_path, text, capsys) == (2, [f"3: model.path: {tmp_path}/none: {wanted}"])
    assert check(tmp_path, text, capsys, model=Path("other.onnx")) == (2, [f"--model: other.onnx: {wanted}"])
    assert check(tmp_path, text, capsys, model=open_model(None).path.parent) == (0, [])


def test_an_unknown_device_of_the_command_line_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named as the option that it is."""
    code, said = check(tmp_path, CAMERA.format(name="a"), capsys, device="toaster")

    assert code == 2
    assert said[0].startswith("--device: ")


NEED = "3 inspections (min_hits) within 2 s (dwell_s) need 1.5 inspections/s"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("inspect_fps = 1.5\n", ["5: stream[a].inspect_fps: found 1.5: " + NEED]),
        ("inspect_fps = 1.9\n", ["5: stream[a].inspect_fps: found 1.9: " + NEED]),
        ("inspect_fps = 2.0\n", []),
    ],
)
def test_a_cap_without_room_for_chance_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str, said: list[str]
) -> None:
    """It suffices only where frames come just when an inspection is due: that is said, and is no error."""
    code, lines = check(tmp_path, CAMERA.format(name="a") + keys, capsys)

    assert code == 0
    assert [line.split(", but inspections")[0] for line in lines] == [f"warning: {place}" for place in said]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("inspect_fps = 1.4\n", f"5: stream[a].inspect_fps: found 1.4, expected at least 1.5: {NEED}"),
        (
            "inspect_fps = 0.6\ndwell_s = 4.0\nmin_hits = 7\n",
            "5: stream[a].inspect_fps: found 0.6, expected at least 1.75: 7 inspections (min_hits) within 4 s (dwell_s)"
            " need 1.75 inspections/s",
        ),
        (
            "inspect_fps = 9\ndwell_s = 3.0\nmin_looks = 40\n",
            "5: stream[a].inspect_fps: found 9, expected at least 13.4: 40 inspections (min_looks) within 3 s (dwell_s)"
            " need 13.4 inspections/s",
        ),
        (
            "inspect_fps = 4.9\nmax_inspection_gap_ms = 200\n",
            "5: stream[a].inspect_fps: found 4.9, expected at least 5: an inspection every 200 ms"
            " (max_inspection_gap_ms; default: half of dwell_s) need 5 inspections/s",
        ),
        (
            "max_inspection_gap_ms = 2001\n",
            "5: stream[a].max_inspection_gap_ms: found 2001, expected at most dwell_s (2000 ms): a part could pass in"
            " the gap",
        ),
        ("min_looks = 2\n", "5: stream[a].min_looks: expected at least min_hits (3), found 2"),
    ],
)
def test_settings_that_can_never_work_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str, said: str
) -> None:
    """No part could ever get its inspections: with the key, what was found and expected, and the rate it takes."""
    with pytest.raises(ConfigError) as refused:
        check(tmp_path, CAMERA.format(name="a") + keys, capsys)

    assert str(refused.value).replace(f"{tmp_path}/streams.toml:", "") == said


def test_what_many_inherit_is_refused_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixteen cameras with one `[defaults]` have one problem, and a disabled camera has none."""
    cameras = "".join(CAMERA.format(name=f"cam{n}") for n in range(16))
    off = CAMERA.format(name="off") + "enabled = false\ninspect_fps = 0.1\n"
    with pytest.raises(ConfigError) as refused:
        check(tmp_path, "[defaults]\ninspect_fps = 0.5\n" + cameras + off, capsys)

    assert (
        str(refused.value)
        == f"{tmp_path}/streams.toml:3: defaults.inspect_fps: found 0.5, expected at least 1.5: {NEED}"
    )


def test_an_inherited_warning_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixteen cameras with one `[defaults]` have one problem."""
    text = "[defaults]\ninspect_fps = 1.6\n" + "".join(CAMERA.format(name=f"cam{n}") for n in range(16))
    _, lines = check(tmp_path, text, capsys)

    assert len(lines) == 1
    assert lines[0].startswith("warning: 3: defaults.inspect_fps: found 1.6")


def test_files_that_hold_too_few_frames_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A video tells its rate, a folder of images has it from the configuration."""
    _write_video(tmp_path / "slow.mp4", fps=1)
    _write_video(tmp_path / "good.mp4", fps=2)
    (tmp_path / "one.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    files = "".join(f'[[stream]]\nname = "{name}"\nurl = "file:{name}.mp4"\n' for name in ("slow", "good"))
    images = '[[stream]]\nname = "images"\nurl = "file:*.png"\npicture_fps = 1.4\npaced = false\n'

    code, lines = check(tmp_path, files + images, capsys)

    assert code == 2
    assert lines == [
        f"4: stream[slow].url: found 1 frames/s; {NEED}",
        f"10: stream[images].url: found 1.4 frames/s; {NEED}",
    ]


def _write_video(path: Path, fps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_who_is_trusted_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CA file that is none is refused, verification that is off is warned of, with the line; rtsp:// has none."""
    (tmp_path / "ca.pem").write_text("no certificate")
    secure = CAMERA.replace("rtsp:", "rtsps:")
    text = (
        "[defaults]\ntls_verify = false\n"
        + secure.format(name="a")
        + 'tls_ca_file = "ca.pem"\n'
        + secure.format(name="b")
        + f'tls_fingerprint = "{":".join(["AB"] * 32)}"\n'
        + CAMERA.format(name="c")
    )
    code, said = check(tmp_path, text, capsys)
    assert code == 2
    assert said == [
        "warning: 3: defaults.tls_verify: whoever answers is taken for this camera, and is told its password:"
        " set tls_ca_file or tls_fingerprint instead",
        f"7: stream[a].tls_ca_file: {tmp_path / 'ca.pem'}: expected certificates in PEM form, found none",
    ]


@pytest.mark.parametrize("key", ['tls_ca_file = "ca.pem"', "tls_verify = true", f'tls_fingerprint = "{"ab" * 32}"'])
def test_nothing_in_the_clear_is_held_to_a_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """At an rtsp:// camera the key is refused where it stands; from [defaults] it does not reach that camera."""
    name = key.split(" ", maxsplit=1)[0]
    said = rf":5: stream\[a\].{name}: is for rtsps:// only, found rtsp://: use rtsps:// or remove it$"
    with pytest.raises(ConfigError, match=said):
        check(tmp_path, f"{CAMERA.format(name='a')}{key}\n", capsys)

    assert check(tmp_path, f"[defaults]\n{key}\n{CAMERA.format(name='a')}", capsys) == (0, [])


def test_an_output_that_would_replace_what_is_read_or_recorded_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a run refuses it, with the line of the key."""
    (tmp_path / "records").mkdir()
    text = '[dashboard]\nsvg = "records/records.sqlite"\n[simulator]\nsent_log = "streams.toml"\n'
    assert check(tmp_path, text + CAMERA.format(name="a"), capsys) == (
        2,
        [
            "3: dashboard.svg: records/records.sqlite: would replace the record file, expected another path",
            "5: simulator.sent_log: streams.toml: would replace the streams file, expected another path",
        ],
    )


def test_a_fingerprint_is_a_sha256(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused where it stands."""
    with pytest.raises(ConfigError, match=r"tls_fingerprint: expected the 64 hex digits of a SHA-256, found 'ab:cd'"):
        check(tmp_path, CAMERA.format(name="a").replace("rtsp:", "rtsps:") + 'tls_fingerprint = "ab:cd"\n', capsys)


def test_a_model_that_would_be_computed_wrongly_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The device is opened once, as a run would open it."""
    variant = "qdq-s8-symmetric"
    variants = {variant: build_tiny_model(quantized=True)}
    folder = write_proven_bundle(tmp_path / "bundle", variants, ((64, 128),), false={(variant, (64, 128))})

    code, said = check(tmp_path, CAMERA.format(name="a"), capsys, model=folder, device="cpu")
    assert code == 2
    assert any("--device: cpu: " in line and "no variant of the model computes rightly" in line for line in said)


def test_a_model_that_did_not_pass_its_gates_has_to_be_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused by a line that names the gates and the option; allowed, it is still warned of."""
    bundle = shutil.copytree(SHIPPED_BUNDLE, tmp_path / "bundle")
    description = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(description | {"failed_gates": ["map50_drop", "miss_rate"]}))
    path = tmp_path / "streams.toml"
    path.write_text("config_version = 1\n" + CAMERA.format(name="a"))
    said = f"{bundle}: the model did not pass 2 gates of its recipe: map50_drop, miss_rate"

    code, refused = check(tmp_path, CAMERA.format(name="a"), capsys, model=bundle)
    allowed = check_file(RunOptions(path, model=bundle, allow_failed_gates=True), probe=False)

    assert code == 2
    assert refused == [f"--model: {said}; --allow-failed-gates inspects with it all the same"]
    assert allowed == 0
    assert capsys.readouterr().err == f"warning: {said}\n"


def test_a_run_refuses_it_too(tmp_path: Path) -> None:
    """Exit 3, as for any model that cannot be used."""
    bundle = shutil.copytree(SHIPPED_BUNDLE, tmp_path / "bundle")
    description = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(description | {"failed_gates": ["miss_rate"]}))
    (tmp_path / "streams.toml").write_text("config_version = 1\n" + CAMERA.format(name="a"))

    done = CliRunner().invoke(cli, ["--streams", "streams.toml", "--model", str(bundle), "--headless"])

    assert done.exit_code == 3
    assert "did not pass 1 gates of its recipe: miss_rate; --allow-failed-gates" in done.output


def test_a_file_that_cannot_be_read_stops_no_start(tmp_path: Path) -> None:
    """A run starts and leaves that camera out; the verdict says so, last, and its place and code come before."""
    (tmp_path / "notes.mp4").write_text("no video")
    text = "config_version = 1\n" + CAMERA.format(name="a") + '[[stream]]\nname = "b"\nurl = "file:notes.mp4"\n'
    (tmp_path / "streams.toml").write_text(text)
    done = CliRunner().invoke(cli, ["check", "streams.toml"])
    said = done.output.splitlines()

    assert done.exit_code == 2
    assert said[0].startswith("streams.toml:7: stream[b].url: FORMAT_REFUSED: ")
    assert said[1:] == ["streams.toml: a run would start, but 1 of 2 cameras cannot be inspected: b"]


def test_the_verdict_comes_after_the_probes(tmp_path: Path) -> None:
    """The cameras' table, what is wrong with them by its place, and what it all means."""
    text = "config_version = 1\n" + CAMERA.format(name="a")
    (tmp_path / "streams.toml").write_text(text)
    done = CliRunner().invoke(cli, ["check", "--probe", "streams.toml"])
    said = [line.rstrip() for line in done.output.splitlines()]

    assert done.exit_code == 2
    assert said[0].split() == ["camera", "codec", "size", "fps", "first", "frame", "result"]
    assert said[1].split() == ["a", "REFUSED"]
    assert said[2:] == [
        "streams.toml:4: stream[a].url: REFUSED: opening 127.0.0.1:1 failed: Connection refused",
        "streams.toml: a run would start, but 1 of 1 cameras cannot be inspected: a",
    ]


def test_an_idle_gpu_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run would start, on the CPU; whoever chose the CPU hears nothing."""
    monkeypatch.setattr(selection, "nvidia_gpus", lambda: ("/dev/nvidia0",))
    code, (said,) = check(tmp_path, CAMERA.format(name="a"), capsys)
    assert code == 0
    assert said.startswith("warning: the CPU inspects, though there is an NVIDIA GPU (/dev/nvidia0): cuda: ")
    assert check(tmp_path, CAMERA.format(name="a"), capsys, device="cpu") == (0, [])


def test_each_recipe_is_checked_as_if_it_were_in_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the model does not find is a problem; what leaves no room for chance under a recipe alone is a warning."""
    recipe = "[recipe.7]\nthresholds = { scratch = 0.5 }\nmin_hits = 4\n"
    code, lines = check(tmp_path, recipe + CAMERA.format(name="a") + "inspect_fps = 2.1\n", capsys)

    assert code == 2
    warning, problem = lines
    assert problem.startswith("3: recipe.7.thresholds.scratch: no class of the model, expected one of open, ")
    assert warning.startswith("warning: 8: stream[a].inspect_fps: found 2.1: 4 inspections (min_hits) within 2 s")


def test_each_recipes_model_is_opened_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it needs is said; a recipe whose model cannot be read or has other classes is named."""
    write_renamed_bundle(tmp_path / "caps", {"open": "gap"})
    text = f'[recipe.a]\nmodel = "caps"\n{CAMERA.format(name="a")}'
    path = tmp_path / "streams.toml"
    path.write_text(f"config_version = 1\n{text}", encoding="utf-8")
    assert check_file(RunOptions(path), probe=False) == 0
    said = capsys.readouterr()
    assert said.out.startswith("2 models are kept open (pcb-demo, caps): at one input shape each they took ")
    assert said.err == ""

    code, lines = check(tmp_path, text.replace('"caps"\n', '"caps"\nthresholds = { open = 0.7 }\n'), capsys)
    classes = "gap, short, mousebite, spur, copper, pin-hole"
    assert (code, lines) == (2, [f"4: recipe.a.thresholds.open: no class of the model, expected one of {classes}"])
    code, (line,) = check(tmp_path, text.replace('"caps"', '"gone"'), capsys)
    assert (code, line.partition(": /")[0]) == (2, "3: recipe.a.model")


def test_names_of_nothing_in_outputs_and_registers_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An output of a misspelt lane would be silent for ever, and a misspelt class would have no code."""
    lane = '[[lane]]\nname = "l1"\ncameras = ["a"]\nwindow_ms = [0, 100]\nejector_ms = 9000\n'
    output = (
        '[[output]]\ntype = "webhook"\nname = "mes"\nurl = "http://127.0.0.1:1/"\nsource = "/x"\n'
        'lanes = ["l1", "l2"]\ncameras = ["a", "b"]\nclasses = ["short", "shrt"]\n'
    )
    modbus = '[modbus]\nclasses = ["open", "opne"]\n'

    code, lines = check(tmp_path, CAMERA.format(name="a") + lane + output + modbus, capsys)

    assert code == 0
    model = ", ".join(open_model(SHIPPED_BUNDLE).classes)
    assert sorted(lines) == [
        "warning: 15: output[mes].lanes: found 'l2', which is no [[lane]], expected one of l1",
        "warning: 16: output[mes].cameras: found 'b', which is no stream, expected one of a",
        f"warning: 17: output[mes].classes: found 'shrt', which is no class of the model, expected one of {model}",
        f"warning: 19: modbus.classes: found 'opne', which is no class of the model, expected one of {model}",
    ]
