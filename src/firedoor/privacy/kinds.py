"""The kinds of values that are found, and the two groups policies are built on."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PERSONAL_KINDS", "SECRET_KINDS", "Match"]


class Match(NamedTuple):
    """A value found in a text: `text[start:end]` is to be hidden, and is of this kind."""

    kind: str
    start: int
    end: int


PERSONAL_KINDS: frozenset[str] = frozenset(
    {
        "email",
        "phone",
        "payment_card",
        "iban",
        "ipv4",
        "ipv6",
        "mac_address",
        "us_ssn",
        "us_itin",
        "uk_nino",
        "uk_nhs",
        "au_tfn",
        "be_nn",
        "br_cpf",
        "ca_sin",
        "ch_ahv",
        "cn_ric",
        "cz_rc",
        "de_steuer_id",
        "dk_cpr",
        "es_dni",
        "es_nie",
        "fi_hetu",
        "fr_nir",
        "in_aadhaar",
        "it_codice_fiscale",
        "kr_rrn",
        "nl_bsn",
        "no_fnr",
        "pl_pesel",
        "pt_nif",
        "se_personnummer",
        "sg_nric",
        "tr_tckn",
        "za_id",
    }
)
"""What tells of a person."""

SECRET_KINDS: frozenset[str] = frozenset(
    {
        "anthropic_key",
        "authorization",
        "aws_access_key",
        "gcp_api_key",
        "gcp_oauth",
        "github_token",
        "gitlab_token",
        "huggingface_token",
        "jwt",
        "npm_token",
        "openai_key",
        "private_key",
        "pypi_token",
        "secret",
        "sendgrid_key",
        "slack_token",
        "stripe_key",
        "twilio_key",
        "url_credentials",
        "vendor_key",
        "webhook_url",
    }
)
"""What opens a door."""
