"""Every use of Lightning's private attributes, and every method of Lightning that is replaced; no other file does so.

Written for lightning 2.6.6. The `PRIVATE_NAMES` of each file list what is relied on; a test fails for a release that
lacks a name. A replaced method of a trainer is restored when the last callback removes its action, so one trainer
serves several fits.
"""
