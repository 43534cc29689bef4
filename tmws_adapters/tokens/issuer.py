"""Whose tokens are trusted besides our own."""

import attrs


@attrs.frozen(kw_only=True)
class ExternalIssuer:
    """Whose tokens are good, for which audience; `agent_claim` names the claim that holds the agent's id.

    Without `jwks_url`, its discovery document tells where its keys are.
    """

    name: str
    audience: str
    agent_claim: str = "sub"
    jwks_url: str = ""
