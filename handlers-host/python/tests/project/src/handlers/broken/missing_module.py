import os
import stripe_not_there
