"""What a server says of how to reach it can be typed by somebody who never saw heed."""

import pytest

from heed_server.primary.serving import how_to_reach


@pytest.mark.parametrize(
    ("address", "tls", "certificates", "keys", "options"),
    [
        ("127.0.0.1:50051", False, False, False, ""),
        ("127.0.0.1:6000", False, False, False, " --address 127.0.0.1:6000"),
        ("0.0.0.0:50051", False, False, True, " --api-key-file KEY_FILE"),
        ("[::]:50051", False, False, False, " --address [::1]:50051"),
        (
            "0.0.0.0:6000",
            True,
            False,
            True,
            " --address NAME_IN_CERTIFICATE:6000 --ca-file CA_FILE --api-key-file KEY_FILE",
        ),
    ],
)
def test_a_server_says_how_its_own_host_reaches_it(
    address: str, tls: bool, certificates: bool, keys: bool, options: str
) -> None:
    assert (
        how_to_reach(address, tls=tls, asks_for_certificates=certificates, asks_for_keys=keys)
        == options
    )


def test_a_server_that_asks_for_certificates_says_which_two_files_it_takes() -> None:
    options = how_to_reach(
        "10.0.0.7:6000", tls=True, asks_for_certificates=True, asks_for_keys=True
    )

    assert options.endswith(" --certificate-file FILE --certificate-key-file FILE")
