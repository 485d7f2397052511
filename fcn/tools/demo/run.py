"""``fcn demo``: a page on this machine, until it is interrupted."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from fcn.core.errors import UserError
from fcn.tools.demo.models import Models, offered
from fcn.tools.demo.settings import DemoConfig


def run(config: DemoConfig) -> int:
    """Serve the page until Ctrl-C, and print where it is."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    try:
        from gradio import Blocks  # noqa: F401 (a folder that is left of it has none)
    except ImportError as error:
        raise UserError('fcn demo needs gradio: pip install "fcn-toolkit[demo]"') from error
    from fcn.tools.demo.page import CSS, page, theme
    from fcn.training.devices import create_accelerator

    models = Models(offered(config.checkpoint), str(create_accelerator(config.device, "fp32").device))
    with TemporaryDirectory(prefix="fcn_demo_") as folder:
        made = page(models, Path(folder))
        try:
            _, address, _ = made.launch(
                server_name=config.host,
                server_port=config.port,
                inbrowser=config.browser,
                share=False,
                ssr_mode=False,
                quiet=True,
                prevent_thread_lock=True,
                footer_links=[],
                theme=theme(),
                css=CSS,
            )
        except OSError as error:
            raise UserError(f"host={config.host} port={config.port or 'null'} cannot be served ({error}); give another port") from error
        print(f"models to choose from: {len(models.names)}; the page is at {address} (Ctrl-C ends it)", flush=True)
        made.block_thread()
    return 0
