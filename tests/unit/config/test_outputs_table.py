# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[[output]]`: what is right, each mistake at its key, and whose secrets are whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.load import load_config
from vision_line.config.output_load import load_outputs
from vision_line.config.output_settings import MqttOutput, OpcUaOutput, WebhookOutput, display_url, shown_address
from vision_line.errors import ConfigError

CAMERA = 'config_version = 1\n[[stream]]\nname = "a"\nurl = "rtsp://{CAM}@host/x"\n'
MQTT = '[[output]]\ntype = "mqtt"\nname = "b"\nurl = "mqtts://{WHO}:{PASS}@broker"\ntopic = "x/y"\n'
HOOK = '[[output]]\ntype = "webhook"\nname = "h"\nurl = "https://mes/x"\nsource = "/line"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "streams.toml"
    path.write_text(text, encoding="utf-8")
    return path


def outputs_problems(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_outputs(path, {})
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_the_line_and_the_outputs_need_only_their_own_secrets(tmp_path: Path) -> None:
    """Neither is stopped by the other's."""
    path = write(tmp_path, CAMERA + MQTT)
    line = load_config(path, {"CAM": "user:password"})
    (output,) = load_outputs(path, {"WHO": "me", "PASS": "p@ss/word"}).outputs

    (unfilled,) = line.config.output
    assert isinstance(unfilled, MqttOutput)
    assert isinstance(output, MqttOutput)
    assert unfilled.name == "b"
    assert "{PASS}" in unfilled.url.get_secret_value()
    assert output.url.get_secret_value() == "mqtts://me:p%40ss%2Fword@broker"
    assert display_url(output) == "mqtts://***@broker"
    assert "p%40ss" not in repr(output)


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        (MQTT.replace("@broker", "@broker:8883"), "mqtts://broker:8883"),
        (HOOK.replace("https://mes/x", "https://user:word@mes/T0K3N?key=T0K3N"), "https://mes"),
        (HOOK.replace("https://mes/x", "http://[::1]:80/"), "http://[::1]:80"),
        ('[[output]]\ntype = "opcua"\nname = "o"\n', "opc.tcp://127.0.0.1:4840"),
    ],
)
def test_an_address_that_is_shown_has_no_secret(tmp_path: Path, table: str, shown: str) -> None:
    """Neither a user, nor the path, by which some servers know who posts."""
    (output,) = load_outputs(write(tmp_path, table), {"WHO": "me", "PASS": "word"}).outputs

    assert shown_address(output) == shown


def test_a_missing_secret_is_named(tmp_path: Path) -> None:
    """Of an output that is enabled."""
    assert outputs_problems(tmp_path, MQTT.replace("{WHO}:", "me:")) == [
        "4: output[b].url: {PASS} is neither an environment variable nor a secret file"
    ]
    assert not load_outputs(write(tmp_path, f"{MQTT}enabled = false\n"), {}).enabled


def test_certificates_lie_beside_the_file(tmp_path: Path) -> None:
    """Where nothing else is said, the records have them."""
    opcua = '[[output]]\ntype = "opcua"\nname = "o"\n'
    (plain,) = load_outputs(write(tmp_path, opcua), {}).outputs
    (named,) = load_outputs(write(tmp_path, f'{opcua}certificates = "pki"\n'), {}).outputs
    assert isinstance(plain, OpcUaOutput)
    assert isinstance(named, OpcUaOutput)

    assert (plain.listen, plain.encrypted, plain.anonymous, plain.certificates) == ("127.0.0.1:4840", True, False, None)
    assert named.certificates == str(tmp_path / "pki")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[[output]]\ntype = "opcua"\nname = "o"\nlisten = "0.0.0.0:4840"\n',
            "4: output[o].listen: found '0.0.0.0:4840', which other machines reach",
        ),
        (MQTT.replace('"x/y"', '"x/#"'), "5: output[b].topic: expected a topic"),
        (
            MQTT.replace("mqtts://{WHO}:{PASS}@broker", "http://broker"),
            "4: output[b].url: expected mqtt:// or mqtts://",
        ),
        (MQTT.replace("mqtts://{WHO}:{PASS}@broker", "mqtt://"), "4: output[b].url: expected a host name"),
        (
            MQTT.replace("mqtts://{WHO}:{PASS}@broker", "mqtt://broker..plant"),
            "4: output[b].url: expected mqtt:// or mqtts:// with host[:port], found no such host",
        ),
        (MQTT.replace("mqtts://{WHO}:{PASS}@broker", "mqtt://broker:0"), "4: output[b].url: expected a host name"),
        (f'{HOOK}verdicts = ["bad"]\n', "6: output[h].verdicts[1]: found 'bad'"),
        (f'{HOOK}topic = "x"\n', "6: output[h].topic: unknown key"),
        (f'{HOOK}secret = "abc"\n', "6: output[h].secret: expected whsec_"),
        (HOOK + HOOK, "8: output[h].name: 'h' is already the name of output 1"),
        (HOOK.replace('type = "webhook"\n', ""), "1: output[h].type: is missing"),
    ],
)
def test_mistakes_are_found_at_their_key(tmp_path: Path, text: str, problem: str) -> None:
    """By the outputs, and by the line's own check."""
    found = outputs_problems(tmp_path, text)

    assert any(each.startswith(problem) for each in found), found
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, CAMERA.replace("{CAM}@", "") + text), {})


def test_a_secret_in_a_wrong_url_is_not_shown(tmp_path: Path) -> None:
    """Whatever is wrong with it; one that a password cuts off is not taken for another host and port."""
    for url in ("https://me:s3cret@mes:port/", "https://me:12/s3cret@mes", "https://me:12?s3cret@mes/x"):
        found = outputs_problems(tmp_path, HOOK.replace("https://mes/x", url))

        assert found
        assert "s3cret" not in "".join(found)


@pytest.mark.parametrize("url", ["https://mes/@team", "https://u:p@mes:8443/@team", "https://mes.plant/x?to=a@b"])
def test_an_at_sign_elsewhere_is_no_mistake(tmp_path: Path, url: str) -> None:
    """Only behind what may be a user with the begin of a password."""
    (output,) = load_outputs(write(tmp_path, HOOK.replace("https://mes/x", url))).outputs

    assert isinstance(output, WebhookOutput)
    assert output.url.get_secret_value() == url


def test_relative_cas_lie_beside_the_file(tmp_path: Path) -> None:
    """As the trust of cameras."""
    (output,) = load_outputs(write(tmp_path, f'{HOOK}ca = "ca.pem"\n'), {}).outputs

    assert output.ca == str(tmp_path / "ca.pem")
