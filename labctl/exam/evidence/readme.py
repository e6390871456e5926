"""What a folder of evidence says of itself, for whoever has nothing but the folder, in both languages."""

README_TEXT = """\
FR
Ce dossier contient les éléments de preuve du travail d'un candidat à une épreuve pratique. Il est complet et signé.
Ne rien y modifier : toute modification se voit.

Vérifier avec labctl :    labctl exam verify DOSSIER
Vérifier sans labctl :    sha256sum --check --quiet SHA256SUMS
Vérifier la signature :   openssl pkeyutl -verify -pubin -inkey KEY.pem -rawin -in MANIFEST.json -sigfile MANIFEST.sig
Empreinte de la clé, à comparer avec la fiche du surveillant : {fingerprint}

recette/           résultats de la recette, avec ce que les machines ont répondu
configuration/     ce qui diffère du laboratoire d'origine, dans /etc et les chemins choisis
disks/             disques : ce que le candidat a écrit, par-dessus le disque d'origine (empreintes : golden.json)
machines/          description des machines (XML de libvirt) et image de leur écran
logs/              consoles, historique des commandes, journal du laboratoire, flux réseau vus
variant.json       valeurs tirées pour ce candidat
integrity.json     valeurs d'autres candidats dans ce travail, réinitialisations : aucun verdict

EN
This folder holds the evidence of a candidate's work in a practical exam. It is complete and signed.
Change nothing in it: every change shows.

Verify with labctl:       labctl exam verify FOLDER
Verify without labctl:    sha256sum --check --quiet SHA256SUMS
Verify the signature:     openssl pkeyutl -verify -pubin -inkey KEY.pem -rawin -in MANIFEST.json -sigfile MANIFEST.sig
Fingerprint of the key, to be compared with the proctor's sheet: {fingerprint}

recette/           results of the acceptance test, with what the machines answered
configuration/     what differs from the golden lab, in /etc and the chosen paths
disks/             disks: what the candidate wrote, on top of the golden lab's disk (golden.json has its hash)
machines/          descriptions of the machines (libvirt's XML) and pictures of their screens
logs/              consoles, history of commands, the lab's log, network flows that were seen
variant.json       values that were drawn for this candidate
integrity.json     values of other candidates in this work, resets: questions, and no verdict
"""
