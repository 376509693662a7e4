"""Every route of the API with the role it demands. What is not here does not exist; None: whoever is logged in."""

from gatebook.model.deployment import DeskRoleName
from gatebook.serve.desk_http import api_grants, api_reading
from gatebook.serve.desk_http.api import Act, guarded

GUARDED: tuple[tuple[str, str, DeskRoleName | None, Act], ...] = (
    ("GET", "/api/me", None, api_reading.me),
    ("GET", "/api/log", "auditor", api_reading.log),
    ("GET", "/api/calls/{name:str}", "auditor", api_reading.why),
    ("GET", "/api/sessions", "auditor", api_reading.sessions),
    ("GET", "/api/proofs/{name:str}", "auditor", api_reading.proof),
    ("GET", "/api/recordings/{name:str}", "recordings", api_reading.recording),
    ("GET", "/api/grants", "admin", api_grants.grants),
    ("POST", "/api/grants/revoke", "admin", api_grants.revoke),
)

API_ROUTES = tuple((method, path, guarded(role, act)) for method, path, role, act in GUARDED)
