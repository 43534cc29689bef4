"""Settings of Chroma that come from nowhere else than from here."""

from chromadb.config import Settings
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


class QuietSettings(Settings):
    """Settings with telemetry off that neither the environment nor a `.env` file can change."""

    anonymized_telemetry: bool = False

    @classmethod
    def settings_customise_sources(  # noqa: D102 - inherited
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
