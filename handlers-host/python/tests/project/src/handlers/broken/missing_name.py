from handlers.shared import nothing_there
