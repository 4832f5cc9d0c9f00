"""An application's own loop; its longest iteration so far, in µs, is in the file `worst`."""

import os
import time

import warden

warden.start(interval_ms=20, budget_permille=1000)
worst = 0
count = 0
while True:
    began = time.ticks_us()
    warden.poll()
    worst = max(worst, time.ticks_diff(time.ticks_us(), began))
    count += 1
    if count % 100 == 0:
        with open("worst.tmp", "w") as file:
            file.write(str(worst))
        os.rename("worst.tmp", "worst")
    time.sleep_ms(1)
