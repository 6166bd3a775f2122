"""What OpenSSF's own library does with our packages: ``calls.py sign|verify FOLDER KEY``."""

import json
import sys
from pathlib import Path

from model_signing import signing, verifying

act, folder, key = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
try:
    if act == "sign":
        signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, folder / "model.sig")
    else:
        verifying.Config().use_elliptic_key_verifier(public_key=key).verify(folder, folder / "model.sig")
    told = {"done": True}
except ValueError as error:
    told = {"done": False, "why": str(error)}
print(json.dumps(told))
