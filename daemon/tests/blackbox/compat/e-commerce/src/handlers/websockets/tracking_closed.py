from journal import note


def tracking_closed(connection):
    note("tracking_closed", connection.id)
