"""The settings as values."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Literal

import attrs

from tmws_adapters.local.libpq import SERVER_SCHEMES
from tmws_adapters.local.place import AGENT, DATABASE
from tmws_adapters.settings.fields import REQUEST_SECONDS, between, checked, default_home, doc, moment
from tmws_adapters.settings.naming import former_server_name, server_file, server_name, sqlite_file
from tmws_core.domain.agent import AGENT_ID, Caller, Transport, operator
from tmws_core.domain.namespace import NAMESPACE

MOST_WORKERS = 4
"""Processes that serve where nobody says how many: each one keeps a model of 200 MB."""

_NEXT_URL = re.compile(r",\s*(?=postgres(?:ql)?://)")

TOOLSETS = ("memory", "tasks", "workflows", "patterns", "agents", "system")


@attrs.frozen(kw_only=True)
class Settings:
    """All settings, with their defaults; the variable of a field is its name in capitals behind TMWS_."""

    environment: Literal["development", "staging", "production"] = attrs.field(
        default="development", metadata=doc("What the instance is for.")
    )
    home: Path = attrs.field(
        factory=default_home,
        metadata=doc(
            "The data directory: `tmws.db`, the logs and a file `.env`. It is made where it is missing, but not by a "
            "command that only reads and has it by `--home`."
        ),
    )
    database_url: str = attrs.field(
        default="",
        repr=False,
        metadata=doc(
            "Where the memories are: `sqlite:////absolute/tmws.db`, `sqlite:///~/tmws.db` or "
            "`postgresql://user:password@host/database`; empty: in TMWS_HOME."
        ),
    )
    database_url_read: str = attrs.field(
        default="",
        repr=False,
        metadata=doc(
            "Replicas to read from, comma-separated: `postgresql://user:password@host/database,postgresql://…`; what a "
            "replica does not have yet is read from TMWS_DATABASE_URL."
        ),
    )
    db_failover_seconds: float = attrs.field(
        default=15.0,
        validator=between(0, 3600),
        metadata=doc(
            "Seconds that a call waits while no PostgreSQL server takes connections or changes; half of "
            "TMWS_REQUEST_TIMEOUT at most."
        ),
    )
    db_pool_size: int = attrs.field(
        default=20,
        validator=between(1, 1000),
        metadata=doc("Connections to PostgreSQL that the processes of a server keep open once they have needed them."),
    )
    db_max_overflow: int = attrs.field(
        default=40,
        validator=between(0, 1000),
        metadata=doc("Connections that they open beyond those while they need more."),
    )
    vector_backend: Literal["auto", "exact", "chroma", "pgvector"] = attrs.field(
        default="auto",
        metadata=doc(
            "How vectors are searched; `auto`: `chroma` if TMWS_CHROMA_URL is set, else `exact` in SQLite, and in "
            "PostgreSQL `pgvector` with vectors in memory as well."
        ),
    )
    vector_memory_mb: int = attrs.field(
        default=500,
        validator=between(0, 1_000_000),
        metadata=doc(
            "Megabytes of vectors that each process keeps in memory beside PostgreSQL, where all of them fit: 500 hold "
            "260,000 of 384 values."
        ),
    )
    redis_url: str = attrs.field(
        default="",
        repr=False,
        metadata=doc("Redis, by which servers share limits, events and query vectors, such as `redis://host:6379`."),
    )
    redis_pool_size: int = attrs.field(
        default=10, validator=between(1, 1000), metadata=doc("Commands to Redis, and so connections, at once.")
    )
    chroma_url: str = attrs.field(
        default="", metadata=doc("A Chroma server, such as `http://localhost:8001`; empty: Chroma in this process.")
    )
    chroma_persist_directory: Path | None = attrs.field(
        default=None, metadata=doc("Where Chroma in this process keeps its files; unset: `chroma` in TMWS_HOME.")
    )
    chroma_collection: str = attrs.field(
        default="tmws_memories", metadata=doc("What the names of the collections begin with.")
    )
    chroma_cache_size: int = attrs.field(
        default=0,
        validator=between(0, 999_999_999),
        metadata=doc("Vectors that Chroma holds at most, the newest; older ones are searched exactly; 0: all."),
    )
    chroma_hnsw_space: Literal["cosine", "l2", "ip"] = attrs.field(
        default="cosine", metadata=doc("The metric of the graph; answers are cosines with each.")
    )
    chroma_hnsw_m: int = attrs.field(
        default=16, validator=between(2, 256), metadata=doc("Neighbours of a vector in the graph.")
    )
    chroma_hnsw_ef_construction: int = attrs.field(
        default=200, validator=between(10, 10_000), metadata=doc("Candidates kept while a vector is added.")
    )
    chroma_hnsw_ef_search: int = attrs.field(
        default=100,
        validator=between(10, 10_000),
        metadata=doc("Candidates kept while the graph is searched; at least 1,600 are."),
    )
    embedder: Literal["auto", "onnx", "ollama"] = attrs.field(
        default="auto",
        metadata=doc("What makes the vectors; `auto`: Ollama if TMWS_OLLAMA_BASE_URL is set, else onnx."),
    )
    ollama_base_url: str = attrs.field(
        default="", metadata=doc("Where Ollama listens, such as `http://localhost:11434`.")
    )
    ollama_model: str = attrs.field(
        default="zylonai/multilingual-e5-large", metadata=doc("The embedding model that Ollama is asked for.")
    )
    onnx_model_dir: Path | None = attrs.field(
        default=None, metadata=doc("A folder with `model.onnx` and `tokenizer.json`; unset: the bundled model.")
    )
    agent_id: str = attrs.field(
        default=AGENT, validator=checked(AGENT_ID), metadata=doc("In whose name stdio and the CLI work.")
    )
    agent_namespace: str = attrs.field(
        default="default", validator=checked(NAMESPACE), metadata=doc("The namespace that this agent belongs to.")
    )
    host: str = attrs.field(
        default="",
        metadata=doc(
            "The address to listen on; empty: `0.0.0.0` in production, else `127.0.0.1` and `::1`, as for `localhost`."
        ),
    )
    port: int = attrs.field(default=8000, validator=between(0, 65535), metadata=doc("The port to listen on."))
    max_workers: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(between(1, 256)),
        metadata=doc("Processes that serve a PostgreSQL database; unset: one for each processor, 4 at most."),
    )
    request_timeout: float = attrs.field(
        default=REQUEST_SECONDS, validator=between(0.1, 3600), metadata=doc("Seconds that one request may take.")
    )
    owner_idle_seconds: float = attrs.field(
        default=300.0,
        validator=between(0, 1_000_000),
        metadata=doc("Seconds without a client after which the owner process ends; 0: at once."),
    )
    auth_enabled: bool | None = attrs.field(
        default=None, metadata=doc("Ask HTTP callers who they are; unset: true in production, else false.")
    )
    secret_key: str = attrs.field(
        default="",
        repr=False,
        metadata=doc(
            "What tokens and cursors are signed with, 32 characters or more; unset in development: made, in TMWS_HOME."
        ),
    )
    secret_key_previous: str = attrs.field(
        default="", repr=False, metadata=doc("The secret key before: tokens signed with it are good, too.")
    )
    secret_key_previous_until: str = attrs.field(
        default="",
        validator=moment,
        metadata=doc("Until when, such as `2026-12-31T00:00:00Z`; empty: as long as TMWS_SECRET_KEY_PREVIOUS is set."),
    )
    oauth_issuer: str = attrs.field(
        default="",
        metadata=doc("An issuer whose tokens are good besides our own, such as `https://login.example.com`."),
    )
    oauth_jwks_url: str = attrs.field(
        default="", metadata=doc("Where its keys are; empty: what its discovery document says.")
    )
    oauth_audience: str = attrs.field(
        default="", metadata=doc("The audience of its tokens; empty: `/mcp` at TMWS_PUBLIC_URL.")
    )
    oauth_agent_claim: str = attrs.field(default="sub", metadata=doc("The claim of its tokens that names the agent."))
    public_url: str = attrs.field(
        default="",
        metadata=doc("Where clients reach this server, such as `https://tmws.example.com`; empty: as they call it."),
    )
    trusted_proxies: tuple[str, ...] = attrs.field(
        default=("127.0.0.1", "::1"),
        metadata=doc("Proxies whose X-Forwarded-For, or X-Real-IP alone, is believed: a JSON list or comma-separated."),
    )
    license_key: str = attrs.field(
        default="",
        repr=False,
        metadata=doc("The licence; none is needed in development, and without one elsewhere FREE limits hold."),
    )
    license_public_key: str = attrs.field(
        default="", metadata=doc("What licences are verified with: PEM, or the 32 bytes in base64.")
    )
    license_strict_mode: bool = attrs.field(
        default=False, metadata=doc("Do not serve after a licence and its grace have ended.")
    )
    rate_limit_enabled: bool | None = attrs.field(
        default=None, metadata=doc("Limit HTTP requests; unset: true where callers say who they are, else false.")
    )
    rate_limit_requests: int = attrs.field(
        default=100, validator=between(1, 999_999_999), metadata=doc("Requests of one agent in TMWS_RATE_LIMIT_PERIOD.")
    )
    rate_limit_period: float = attrs.field(
        default=60.0, validator=between(0.001, 86_400), metadata=doc("Seconds in which an agent has that many.")
    )
    rate_limit_per_minute: int = attrs.field(
        default=60,
        validator=between(1, 999_999_999),
        metadata=doc("Requests a minute from one address, of callers who have not said who they are."),
    )
    max_concurrent_requests: int = attrs.field(
        default=256, validator=between(1, 100_000), metadata=doc("HTTP requests that run at once; one more is refused.")
    )
    quota_memories: int = attrs.field(
        default=0, validator=between(0, 999_999_999), metadata=doc("Memories that one agent may own; 0: any number.")
    )
    quota_bytes: int = attrs.field(
        default=0,
        validator=between(0, 999_999_999),
        metadata=doc("Bytes of content, former texts and metadata that one agent may own; 0: any number."),
    )
    allow_insecure: bool = attrs.field(default=False, metadata=doc("Serve other machines without authentication."))
    cors_origins: tuple[str, ...] = attrs.field(
        default=("http://localhost:3000",), metadata=doc("Web origins that may call: a JSON list or comma-separated.")
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = attrs.field(
        default="INFO", metadata=doc("What is worth a line in the log.")
    )
    log_file: Path | None = attrs.field(default=None, metadata=doc("Log to this file instead of stderr."))
    log_format: Literal["text", "json"] = attrs.field(default="text", metadata=doc("How log lines look."))
    audit_log_enabled: bool = attrs.field(
        default=True, metadata=doc("Record changes, reads and refusals in `security_audit_logs`.")
    )
    audit_log_retention_days: int = attrs.field(
        default=365,
        validator=between(0, 100_000),
        metadata=doc("Days after which `tmws audit prune` deletes; 0: never."),
    )
    mcp_toolsets: tuple[str, ...] = attrs.field(
        default=("memory", "tasks", "system"),
        metadata=doc("Which tools MCP clients see: a list of toolsets, or `all`."),
    )
    search_recency: float = attrs.field(
        default=0.0,
        validator=between(0, 1),
        metadata=doc("What a memory of this moment gains in a search, beside the 1 of the best match; 0: nothing."),
    )
    search_half_life_days: float = attrs.field(
        default=30.0, validator=between(0.01, 100_000), metadata=doc("Days after which that gain is half as much.")
    )
    search_use: float = attrs.field(
        default=0.0,
        validator=between(0, 1),
        metadata=doc("What being read by its id adds to a memory's score, at most; it is counted while this is set."),
    )
    search_importance: float = attrs.field(
        default=0.0,
        validator=between(0, 1),
        metadata=doc("What a memory of importance 1 gains in a search; 0: nothing."),
    )
    without_effect: tuple[str, ...] = attrs.field(
        default=(), metadata={"computed": "reserved variables that are set, see RESERVED"}
    )
    files: tuple[Path, ...] = attrs.field(default=(), eq=False, metadata={"computed": "the files that were read"})

    @property
    def uses_postgres(self) -> bool:
        """Tell whether the memories are in PostgreSQL."""
        return self.database_url.startswith(SERVER_SCHEMES)

    @property
    def replica_urls(self) -> tuple[str, ...]:
        """Return the URLs of the replicas; one with several hosts has commas, too."""
        return tuple(each.strip() for each in _NEXT_URL.split(self.database_url_read) if each.strip())

    @property
    def store_kind(self) -> str:
        """Return the name of the store, as health reports have it."""
        return "postgresql" if self.uses_postgres else "sqlite"

    @property
    def store_name(self) -> str:
        """Return where the store is, without a password; no other store is called the same.

        Raises:
            ConfigurationError: TMWS_DATABASE_URL names no database.
        """
        if not self.uses_postgres:
            return str(self.sqlite_path.absolute())
        return server_name(self.database_url)

    @property
    def former_name(self) -> str | None:
        """Return the `store_name` that older versions had for this store alone, or None if there is none."""
        return former_server_name(self.database_url) if self.uses_postgres else None

    @property
    def place(self) -> Path:
        """Return the file that stands for the store on this machine: beside it are those of the owner process.

        Raises:
            ConfigurationError: TMWS_DATABASE_URL names no database.
        """
        if not self.uses_postgres:
            return self.sqlite_path
        return self.home / server_file(self.database_url)

    @property
    def sqlite_path(self) -> Path:
        """Return the database file.

        Raises:
            ConfigurationError: TMWS_DATABASE_URL names no SQLite file.
        """
        return sqlite_file(self.database_url) if self.database_url else self.home / DATABASE

    @property
    def listen_host(self) -> str:
        """Return the address to listen on."""
        return self.host or ("0.0.0.0" if self.environment == "production" else "127.0.0.1")  # noqa: S104 - documented

    @property
    def listen_hosts(self) -> tuple[str, ...]:
        """Return all addresses to listen on: `localhost` is one of IPv4 and one of IPv6, and clients take either."""
        alike = self.listen_host.lower() == "localhost" or (not self.host and self.environment != "production")
        return ("127.0.0.1", "::1") if alike else (self.listen_host,)

    @property
    def workers(self) -> int:
        """Return how many processes serve; a database in a file, or a Chroma in a directory, has one."""
        if not self.uses_postgres or (self.uses_chroma and not self.chroma_url):
            return 1
        return self.max_workers or min(MOST_WORKERS, os.cpu_count() or 1)

    @property
    def authenticates(self) -> bool:
        """Tell whether HTTP callers have to say who they are."""
        return self.environment == "production" if self.auth_enabled is None else self.auth_enabled

    @property
    def needs_license(self) -> bool:
        """Tell whether a server has to have a licence key."""
        return self.environment == "production"

    @property
    def limits_rates(self) -> bool:
        """Tell whether HTTP requests are limited."""
        return self.authenticates if self.rate_limit_enabled is None else self.rate_limit_enabled

    @property
    def uses_ollama(self) -> bool:
        """Tell whether Ollama makes the vectors."""
        return self.embedder == "ollama" or (self.embedder == "auto" and bool(self.ollama_base_url))

    @property
    def uses_chroma(self) -> bool:
        """Tell whether vectors are searched with Chroma."""
        return self.vector_backend == "chroma" or (self.vector_backend == "auto" and bool(self.chroma_url))

    @property
    def uses_pgvector(self) -> bool:
        """Tell whether vectors are searched inside PostgreSQL."""
        return self.uses_postgres and not self.uses_chroma and self.vector_backend != "exact"

    @property
    def chroma_directory(self) -> Path:
        """Return where Chroma in this process keeps its files."""
        return self.chroma_persist_directory or self.home / "chroma"

    @property
    def timeout(self) -> timedelta:
        """Return how long one request may take."""
        return timedelta(seconds=self.request_timeout)

    def agent(self, agent_id: str | None = None, *, transport: Transport = "python") -> Caller:
        """Return an agent of the settings' namespace, without an id theirs: it acts in its own name only."""
        name = self.agent_id if agent_id is None else agent_id
        return Caller(agent_id=name, namespace=self.agent_namespace, transport=transport)

    def operator(self, *, transport: Transport = "python") -> Caller:
        """Return the caller for whoever owns the machine: it may act for any agent, in any namespace."""
        return operator(self.agent_id, self.agent_namespace, transport)
