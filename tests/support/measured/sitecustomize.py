"""On the path of the commands whose coverage is measured: what they start in turn is not.

Their coverage has begun when Python imports this. A simulated board runs inside a Python process
too, which would start coverage for nothing: a sixth of a second for each board.
"""

import os

os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
