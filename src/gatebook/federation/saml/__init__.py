"""SAML 2.0 as a service provider: what the desk decides around the one verifier of signatures (`adapters.assertions_saml`). Pure.

Read in this order: `names` (the vocabulary), `asking` (our request, our metadata), `gate` (what a response must look like before anything
verifies it), `ports` (the verifier), `checks` (what the verified assertion must say), `people` (the assertion → a person, by preset),
`provider_metadata` (a provider's metadata → where it is and which keys are its own).

The rule of this package: identity is read only from the element whose signature was verified, by the parser that verified it. A signature
that is found, valid, and about something else is the oldest attack on SAML.
"""
