"""Owns what the stand-in knows, as plain records: people, repositories, tokens, consumers, logins, knobs."""

from dataclasses import dataclass, field

# The kinds of token, by the names that Bitbucket's `x-credential-type` header uses where it names them.
API_TOKEN = "api_token"
REPOSITORY_TOKEN = "repo_access_token"
PROJECT_TOKEN = "project_access_token"
WORKSPACE_TOKEN = "workspace_access_token"
OAUTH = "oauth2"
# Data Center names none of its kinds in a header.
HTTP_TOKEN_OF_PERSON = "dc_personal"
HTTP_TOKEN_OF_PROJECT = "dc_project"
HTTP_TOKEN_OF_REPOSITORY = "dc_repository"

ACCESS_TOKENS = frozenset({REPOSITORY_TOKEN, PROJECT_TOKEN, WORKSPACE_TOKEN})


@dataclass
class Person:
    """An Atlassian account with a Bitbucket username; `places` are workspaces or workspace/slug, "*" is all."""

    username: str
    email: str
    places: list[str]
    display_name: str
    uuid: str
    account_id: str
    password: str = field(default="", repr=False)


@dataclass
class Repository:
    """A bare repository on disk, and where Bitbucket shows it."""

    workspace: str
    slug: str
    project: str
    public: bool
    uuid: str
    path: str


@dataclass
class Consumer:
    """An OAuth consumer of a workspace; `private` must be ticked for client_credentials."""

    key: str
    secret: str = field(repr=False)
    callback: str
    private: bool
    workspace: str
    scopes: list[str]


@dataclass
class Login:
    """What one consent granted: every access and refresh token that comes of it belongs to it.

    `person` is None for client_credentials, which acts as the workspace's app user.
    """

    number: int
    consumer: Consumer
    person: Person | None
    scopes: list[str]
    revoked: bool = False
    locked_until: float = 0.0


@dataclass
class Token:
    """A token that git or REST may present. `uses_left` counts accepted git requests until it is revoked."""

    secret: str = field(repr=False)
    kind: str
    scopes: list[str]
    person: Person | None = None
    login: Login | None = None
    place: str = ""
    project: str = ""
    expires_at: float | None = None
    revoked: bool = False
    uses_left: int | None = None
    # Data Center: the token's own id, its name, and who may list and revoke it besides its person.
    ident: str = ""
    name: str = ""


@dataclass
class RefreshToken:
    """One link of a login's chain of refresh tokens."""

    secret: str = field(repr=False)
    login: Login
    expires_at: float
    used: bool = False


@dataclass
class Code:
    """An authorization code, and what the exchange must repeat."""

    code: str = field(repr=False)
    login: Login
    expires_at: float
    redirect_uri: str | None
    challenge: str | None
    challenge_method: str
    used: bool = False


@dataclass
class Knobs:
    """What a test may turn. Times are seconds. The defaults are Bitbucket's own, as far as they are known."""

    # support.atlassian.com, use-oauth-on-bitbucket-cloud: two hours; older pages say 3600.
    token_lifetime: float = 7200.0
    # CHANGE-3052: a refresh token that is not used for three months dies.
    refresh_lifetime: float = 90 * 86400.0
    code_lifetime: float = 600.0
    oauth_token_length: int = 2600
    # CHANGE-3052 is rolled out per client: the new shape rotates and says `scope`; False gives the old shape.
    rotate_refresh_tokens: bool = True
    # RFC 6749, 5.1 and 6: an answer may name none, and then the one that was used stays. Without rotation only.
    omit_refresh_token: bool = False
    scope_field: str = "scope"
    client_credentials_refresh_token: bool = False
    omit_expires_in: bool = False
    # Scopes that the answer names beyond those that were asked for.
    extra_scopes: list[str] = field(default_factory=list)
    # For a refresh token that was used before: `unauthorized_client` by a published probe, RFC 6749 says
    # `invalid_grant`.
    reuse_error: str = "unauthorized_client"
    # How long the valid refresh token of that login is refused as well (the same probe).
    reuse_lockout: float = 5.0
    # 400 and 401 have both been seen on the token endpoint's errors.
    error_status: int = 400
    # The revocation endpoint is not documented; False answers 404.
    revocation: bool = True
    # 403 and 404 have both been seen for a repository without access.
    no_access_status: int = 403
    # An anonymous LFS batch on a private repository has answered 403 too (github.com/git-lfs/git-lfs issue 2658).
    lfs_anonymous_status: int = 401
    # Delay before each answer, and connections reset on accept, as when a server is down.
    latency: float = 0.0
    down: bool = False
    # Moves the stand-in's clock: tokens grow old without waiting.
    clock_offset: float = 0.0
    # Data Center. The version, and where below the host it is ("/bitbucket").
    dc_version: str = "9.4.1"
    dc_context: str = ""
    # Newer versions take project and repository tokens by Basic with x-token-auth, older ones by Bearer only.
    dc_basic_for_tokens: bool = True
    dc_oauth: bool = True
    # confluence.atlassian.com/bitbucketserver101/oauth-2-0-provider-system-properties-1721011884.html
    dc_https_redirects_only: bool = True
    # Failed logins of one account until it must solve a CAPTCHA (Atlassian's default is 5).
    dc_attempts: int = 5
    # A token's id is in the one token that is published; that it always is, nobody says.
    dc_id_in_token: bool = True
    # An administrator may demand an expiry.
    dc_expiry_required: bool = False
