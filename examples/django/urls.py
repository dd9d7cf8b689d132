"""One view, which logs its requests; and the WSGI application: `gunicorn 'urls:application()'`."""

import logging
import os

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
log = logging.getLogger("shop")


def ship(request):
    log.info("%s %s", request.method, request.path)
    return HttpResponse("shipped\n")


urlpatterns = [re_path("", ship)]
application = get_wsgi_application
