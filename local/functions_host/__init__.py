"""An Azure Functions host for one machine: Microsoft's worker library, our listeners."""
