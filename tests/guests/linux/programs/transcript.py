"""Some hundreds of checks of sockets, one line each: run natively and as a guest, their transcripts are compared.

With names of themes as arguments, those alone.
"""

import theme_connecting  # type: ignore[import-not-found]  # noqa: F401
import theme_data  # type: ignore[import-not-found]  # noqa: F401
import theme_datagrams  # type: ignore[import-not-found]  # noqa: F401
import theme_ending  # type: ignore[import-not-found]  # noqa: F401
import theme_events  # type: ignore[import-not-found]  # noqa: F401
import theme_listening  # type: ignore[import-not-found]  # noqa: F401
import theme_options  # type: ignore[import-not-found]  # noqa: F401
import theme_raw  # type: ignore[import-not-found]  # noqa: F401
import theme_sharing  # type: ignore[import-not-found]  # noqa: F401
import theme_urgent  # type: ignore[import-not-found]  # noqa: F401
from checks import main  # type: ignore[import-not-found]

main()
