"""The command `keras-saliency tensorboard`: TensorBoard with every step of every image."""

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

TAB = "#keras_saliency"  # behind TensorBoard's address: the Saliency tab, with the verdict on top
_IMAGES = 1000  # steps of each, as many as TensorBoard keeps of numbers
_HELP = {"-h", "--help", "--helpfull", "--version", "--version_tb"}


def add_to(commands: Any) -> None:
    """Add the command to those of `keras-saliency`."""
    # No option is its own: even --help goes to TensorBoard.
    parser = commands.add_parser(
        "tensorboard",
        help="start TensorBoard with every step of every image, not ten of them",
        prefix_chars="\0",
        add_help=False,
    )
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    parser.set_defaults(run=_tensorboard)


def _tensorboard(args: argparse.Namespace) -> None:
    """Become TensorBoard, as its own command does, and say where the verdict is."""
    errors: Any = sys.stderr
    if _HELP & set(args.flags):
        # Where this module is there, TensorBoard leaves TensorFlow alone, which takes seconds, and
        # says that it is not installed.
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
        errors = io.StringIO()
    sys.argv = ["tensorboard", *with_all_images(args.flags)]
    with contextlib.redirect_stderr(errors):
        _serve()


def _serve() -> None:
    """Run TensorBoard with a server that says where the verdict is."""
    from absl import app
    from tensorboard import default, main_lib, program

    class Server(program.WerkzeugServer):
        def print_serving_message(self) -> None:
            super().print_serving_message()
            print(f"The verdict is at {self.get_url()}{TAB}", flush=True)

    main_lib.global_init()
    server = program.with_port_scanning(Server)
    tensorboard = program.TensorBoard(plugins=default.get_plugins(), server_class=server)
    app.run(tensorboard.main, flags_parser=tensorboard.configure)


def with_all_images(flags: Sequence[str]) -> list[str]:
    """Have TensorBoard keep all images, unless its flags say how many."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--samples_per_plugin", default="")
    given, others = own.parse_known_args(flags)
    samples = given.samples_per_plugin
    if "images=" not in samples:
        samples = ",".join(filter(None, [samples, f"images={_IMAGES}"]))
    return [f"--samples_per_plugin={samples}", *others]
