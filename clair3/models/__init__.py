"""Models: the registry, the choice by the read groups, fetching, assembly of model folders."""
