"""The account Azurite starts with: its name and key are published constants, not secrets.

https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
"""

NAME = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(*, blob: int, queue: int, table: int) -> str:
    """For the ports Azurite listens on."""
    services = {"Blob": blob, "Queue": queue, "Table": table}
    endpoints = "".join(
        f"{service}Endpoint=http://127.0.0.1:{port}/{NAME};" for service, port in services.items()
    )
    return f"DefaultEndpointsProtocol=http;AccountName={NAME};AccountKey={KEY};{endpoints}"
