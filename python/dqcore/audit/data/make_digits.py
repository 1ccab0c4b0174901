"""Make digits.npz from scikit-learn's copy of the UCI optical digits: same input, same bytes.

Run: python make_digits.py  (needs scikit-learn; dqcore itself does not).
"""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SHA256 = "b9a145ac481280ddf848303332a31ac3ca837c9cf148982dbbdbdf3c6dc1614b"


def npy_bytes(array: np.ndarray) -> bytes:
    """Return `array` as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def main() -> None:
    """Write digits.npz and check its arrays against the hash of the README."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    arrays = {
        "features": bunch.data.astype(np.uint8),
        "labels": bunch.target.astype(np.uint8),
    }
    # numpy.savez writes the time of day into the archive; a fixed date keeps the bytes the same.
    with zipfile.ZipFile(HERE / "digits.npz", "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, npy_bytes(array), compresslevel=9)
    digest = hashlib.sha256(b"".join(npy_bytes(a) for a in arrays.values())).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"the arrays changed: sha256 {digest}, expected {SHA256}")


if __name__ == "__main__":
    main()
