"""A form with CSRF protection, and an upload that is read in pieces."""

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST


class TemperatureForm(forms.Form):
    celsius = forms.FloatField(min_value=-273.15)


def convert(request):
    form = TemperatureForm(request.POST or None)
    fahrenheit = form.cleaned_data["celsius"] * 9 / 5 + 32 if form.is_valid() else None
    return render(request, "convert.html", {"form": form, "fahrenheit": fahrenheit})


@csrf_exempt
@require_POST
def size(request):
    total = 0
    while piece := request.read(64 * 1024):
        total += len(piece)
    return HttpResponse(str(total), content_type="text/plain")
