"""What reading a zip archive fails with that is damaged, encrypted, or packed in a rare way."""

import zipfile
import zlib

ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # the last: it is encrypted
